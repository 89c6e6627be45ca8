"""Merges experts by weights that the prompts' texts give, or a training on their pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from selma.adapters.files import read_adapter
from selma.core.devices import prepare_device
from selma.core.files import write_curve, write_json
from selma.core.tables import read_table, stream_table
from selma.diffusion.backbone import Backbone
from selma.diffusion.grams import text_gram
from selma.diffusion.loading import LIBRARIES, load_backbone
from selma.merging.certificate import headline
from selma.merging.fits import fit_regmean, learned_merge, write_fit
from selma.merging.merge_files import merge_files
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.fit_params import FitParams
from selma.runtime.journal import journal
from selma.runtime.params import laid_over, load_row, load_section
from selma.runtime.progress import training_progress
from selma.runtime.sections import NOT_A_ROUTERS, BackboneParams, LoraParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace

logger = logging.getLogger(__name__)
Files = Mapping[str, Path]  # by skill
Curve = dict[str, list[float]]
Fitted = tuple[dict[str, Any], Curve]  # what was measured
STEPS_PER_POINT = 10  # of a training's curve


def main(argv: list[str] | None = None) -> None:
    """Write the fitted adapter, its certificate, and the curve of what was made least."""
    args = stage_arguments(
        argv, __doc__, fit=str, experts=Path, prompts=Path, images=Path, out=Path,
        certificate=Path, metrics=Path, curve=Path,
    )  # fmt: skip
    row = load_row("fits", args.fit, FitParams, args.params)
    model = load_section("backbone", BackboneParams, args.params)
    seed = load_section("seed", Seed, args.params)
    machine, given = prepare_machine(args.params), row.model_dump()
    fit: Callable[..., Fitted] = regmean
    folder, every = args.prompts, 1
    shared: Sequence[str] | None = None  # a closed form has no use for helpers
    if row.kind == "cat":
        fit, folder, shared, every = cat, args.images, LIBRARIES, STEPS_PER_POINT
        lora = laid_over("lora", LoraParams, row.lora, args.params)
        given["lora"] = lora.model_dump(exclude=NOT_A_ROUTERS)
    files = {skill: args.experts / f"{skill}.safetensors" for skill in row.experts}
    tables = {skill: folder / f"{skill}.parquet" for skill in row.experts}
    settings = {"seed": seed, **machine, **given, **model.model_dump()}
    inputs = [*files.values(), *tables.values(), Path(model.path)]
    with workspace(f"fit-{args.fit}", inputs, settings, shared) as work:
        backbone = load_backbone(model.path, model.dtype, prepare_device(), "float32")
        made = {"name": args.fit, "fit": given, "seed": seed, "base": model.path}
        facts, curve = fit(
            files, tables, backbone, work,
            out=args.out, certificate=args.certificate, made=made, **given,
        )  # fmt: skip
        write_json(args.metrics, facts)
        write_curve(args.curve, curve, every=every)
    logger.info(
        "%s by %s: rank %d, cosine to the mean %.3f",
        args.fit, row.kind, facts["rank"], facts["cosine_to_mean"],
    )  # fmt: skip


def regmean(
    files: Files, tables: Files, backbone: Backbone, work: Path, *,
    out: Path, certificate: Path, made: Mapping[str, Any],
    kind: str, rank: int | None, **settings: Any,
) -> Fitted:  # fmt: skip
    """Fit to the text states of each skill's prompts; the curve goes from the mean to the fit."""
    grams = {
        skill: text_gram([row["prompt"] for row in read_table(table, "prompts")], backbone)
        for skill, table in tables.items()
    }
    experts = {skill: read_adapter(path) for skill, path in files.items()}
    fitted = fit_regmean(experts, grams, text_layers=backbone.text_projections, **settings)
    error = fitted.facts["output_error"]
    facts = write_fit(out, fitted, files, certificate=certificate, rank=rank, provenance=made)
    return {**headline(facts), **fitted.facts}, {"loss": [error["mean"], error["fit"]]}


def cat(
    files: Files, tables: Files, backbone: Backbone, work: Path, *,
    out: Path, certificate: Path, made: Mapping[str, Any],
    kind: str, skills: list[str], lora: Mapping[str, Any],
) -> Fitted:  # fmt: skip
    """Learn a weight for each layer and expert on the pictures of all skills, and merge by them."""
    from selma.training.scalars import learn_weights  # loads torch

    experts = {skill: read_adapter(path) for skill, path in files.items()}
    updates = {
        skill: {
            layer.removeprefix(f"{backbone.component}."): (one.lora_a, one.scale * one.lora_b)
            for layer, one in adapter.items()
        }
        for skill, adapter in experts.items()
    }
    rows = chain.from_iterable(stream_table(path, "images") for path in tables.values())
    with training_progress(lora["train_steps"], "steps") as on_step:
        weights, trained = learn_weights(
            rows,
            backbone,
            work,
            updates=updates,
            name=made["name"],
            seed=made["seed"],
            on_step=on_step,
            **lora,
        )
    for figure, value in trained.speed.items():
        journal({"event": "metric", "name": figure, "step": lora["train_steps"], "value": value})
    named = {f"{backbone.component}.{layer}": own for layer, own in weights.items()}
    curve = {"loss": list(trained.losses), "gradient_norm": list(trained.norms)}
    training = {"step": trained.step, "dev_losses": dict(trained.dev_losses)}
    facts = merge_files(
        files, out, learned_merge(named), certificate=certificate, made={**made, **training}
    )
    return {**headline(facts), **training}, curve


if __name__ == "__main__":
    run_stage("fit", main)
