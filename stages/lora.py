"""Trains a LoRA adapter: one skill's expert, or a mixture on several skills' pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.adapters.files import factors_of, write_adapter
from selma.core.choices import choose
from selma.core.devices import prepare_device
from selma.core.files import read_json, write_curve
from selma.core.tables import stream_table
from selma.diffusion.loading import LIBRARIES, load_backbone
from selma.llm.budget import LEDGER
from selma.llm.generators import LlmOptions, kept_replies, make_answer
from selma.measuring.raters import asks, libraries_of, open_rater
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.journal import journal, root
from selma.runtime.objective_params import OF_PICTURES
from selma.runtime.params import (
    laid_over,
    load_expert,
    load_mixture,
    load_objective,
    load_row,
    load_section,
)
from selma.runtime.progress import training_progress
from selma.runtime.sections import (
    BackboneParams,
    LlmParams,
    MixtureParams,
    Seed,
    TrainingImagesParams,
)
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace
from selma.training.experts import train, train_on_pairs

if TYPE_CHECKING:
    from selma.diffusion.backbone import Backbone
    from selma.training.trainer import Trained

logger = logging.getLogger(__name__)
Given = dict[str, Any]
Act = Callable[..., "tuple[Trained, Given]"]  # what is trained, and what is to be noted of it


@dataclass(frozen=True)
class Way:
    """How an objective trains: its act, and all else that decides it."""

    act: Act  # of backbone, work folder, and keyword arguments as in `train`
    inputs: Sequence[Path]
    settings: Given
    libraries: Sequence[str] | None = LIBRARIES  # None: not by several processes
    every: int = 10  # steps of a point of the curve


def main(argv: list[str] | None = None) -> None:
    """Train the adapter in float32; write it as float16, as adapters are passed around."""
    args = stage_arguments(
        argv, __doc__, section=str, name=str, images=Path, pairs=Path, objective=Path, out=Path,
        curve=Path,
    )  # fmt: skip
    if args.section == "mixtures":
        skills = load_row("mixtures", args.name, MixtureParams, args.params).skills
        lora = load_mixture(args.name, args.params)
    else:
        skills, lora = [args.name], load_expert(args.name, args.params)
    objective = load_objective(args.params)
    model = load_section("backbone", BackboneParams, args.params)
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    folder = args.images if objective.pairs is None else args.pairs
    tables = sorted(folder / f"{skill}.parquet" for skill in skills)
    way = WAYS[objective.kind](args.name, tables, objective, args.objective, args.params)
    own = lora.model_dump(exclude={"objective"})
    settings = {"seed": seed, **machine, **own, **model.model_dump(), **way.settings}
    inputs = [*tables, Path(model.path), *way.inputs]
    with workspace(f"lora-{args.name}", inputs, settings, way.libraries) as work:
        backbone = load_backbone(model.path, model.dtype, prepare_device(), "float32")
        with training_progress(lora.train_steps, "steps") as on_step:
            expert, noted = way.act(backbone, work, seed=seed, on_step=on_step, **own)
        tell(expert)
        provenance = {
            "name": args.name, "seed": seed, "lora": own, "step": expert.step,
            "dev_losses": expert.dev_losses,
            "prediction_type": backbone.noising.prediction_type,
        }  # fmt: skip
        halved = {name: tensor.half() for name, tensor in expert.tensors.items()}
        factors = factors_of(halved, backbone.component)
        write_adapter(args.out, factors, {**provenance, **noted, "base": model.path})
        curve = {"loss": expert.losses, "gradient_norm": expert.norms, **expert.watched}
        write_curve(args.curve, curve, every=way.every)


def denoise(name: str, tables: Sequence[Path], objective: Any, rated_by: Path, params: Path) -> Way:
    """The denoising loss on the skills' pictures."""
    read = reader(tables, "images")

    def act(backbone: "Backbone", work: Path, **settings: Any) -> "tuple[Trained, Given]":
        return train({name: read()}, backbone, work, **settings)[name], {}

    return Way(act, [], {})


def dpo(name: str, tables: Sequence[Path], objective: Any, rated_by: Path, params: Path) -> Way:
    """Diffusion-DPO on pairs of the rated pictures."""
    read, given = reader(tables, "pairs"), objective.model_dump(include={"min_gap", "beta", "stop"})

    def act(backbone: "Backbone", work: Path, **settings: Any) -> "tuple[Trained, Given]":
        expert, counts = train_on_pairs(name, read, backbone, work, **given, **settings)
        logger.info(
            "%(pairs)d pairs of %(prompts)d prompts; of %(too_close)d the pictures are too close",
            counts,
        )
        return expert, {"objective": {"kind": "dpo", **given}, "pairs": dict(counts)}

    return Way(act, [], {"objective": given})


def ddpo(name: str, tables: Sequence[Path], objective: Any, rated_by: Path, params: Path) -> Way:
    """DDPO on the prompts of the skills' pictures, rewarded by a rater."""
    read, raters = reader(tables, "images"), read_json(rated_by)["raters"]
    one = choose(f"rater in {rated_by}", objective.rater, raters)
    llm = LlmOptions(**load_section("llm", LlmParams, params).model_dump())
    drawing = laid_over("images", TrainingImagesParams, objective.images, params)
    given = objective.model_dump(exclude={"kind", "pairs", "rater", "images", "lora"})
    given |= drawing.model_dump(include={"guidance_scale", "inference_steps"})

    def act(backbone: "Backbone", work: Path, **settings: Any) -> "tuple[Trained, Given]":
        from selma.training.ddpo import train_by_reward  # loads torch

        prompts = {row["prompt_id"]: row["prompt"] for row in read()}
        rater, _ = open_rater(
            one, llm=llm,
            answer=make_answer(llm, root() / LEDGER) if asks(raters) else None,
            transcript=kept_replies(llm, work, root()), seed=settings["seed"],
            device=backbone.device, replies=work / "replies.jsonl",
        )  # fmt: skip
        rater.prepare(list(prompts.values()))
        used = {key: value for key, value in settings.items() if key not in UNUSED_BY_REWARDS}
        expert = train_by_reward(name, prompts, backbone, rater.rate, work, **given, **used)
        return expert, {"objective": {"kind": "ddpo", "rater": objective.rater, **given}}

    shared, decided = libraries_of(raters, llm), {"objective": given, "llm": llm.deciding()}
    libraries = None if shared is None else [*LIBRARIES, *shared]
    return Way(act, [rated_by], decided, libraries, every=1)


WAYS: dict[str, Callable[..., Way]] = {"denoise": denoise, "dpo": dpo, "ddpo": ddpo}
UNUSED_BY_REWARDS = {*OF_PICTURES, "checkpoint_every_steps"}


def reader(tables: Sequence[Path], kind: str) -> Callable[[], chain[dict[str, Any]]]:
    """Prepare to read tables one after the other, more than once; sees that they are there."""

    def read() -> chain[dict[str, Any]]:
        return chain.from_iterable([stream_table(table, kind) for table in tables])

    read()
    return read


def tell(expert: "Trained") -> None:
    """Note how fast the training was, and how what was watched changed."""
    figures: Mapping[str, float] = expert.speed
    for name, values in expert.watched.items():
        tenth = max(1, len(values) // 10)
        first, last = (sum(part) / tenth for part in (values[:tenth], values[-tenth:]))
        logger.info("%s: %.4g → %.4g, first and last tenth of the steps", name, first, last)
        figures = {**figures, f"{name}_first": first, f"{name}_last": last}
    for name, value in figures.items():
        steps = len(expert.losses)
        journal({"event": "metric", "name": name, "step": steps, "value": value})


if __name__ == "__main__":
    run_stage("lora", main)
