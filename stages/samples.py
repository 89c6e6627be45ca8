"""Draws a benchmark's prompts with a model: a backbone, alone or with what it was taught."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selma.adapters.files import read_updates
from selma.adapters.routers import is_router, read_router
from selma.core.devices import prepare_device
from selma.core.tables import read_table, write_table
from selma.diffusion.backbone import Backbone
from selma.diffusion.combining import Composite, ExpertWeights, Switch
from selma.diffusion.drawing import draw
from selma.diffusion.loading import LIBRARIES, add_updates, load_backbone
from selma.diffusion.steps import TakeStep
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.params import load_row, load_section
from selma.runtime.progress import in_words
from selma.runtime.sections import BackboneParams, ImagesParams, ModelParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Draw `samples.per_prompt` pictures of each prompt, with the same seeds for every model."""
    args = stage_arguments(argv, __doc__, model=str, benchmark=Path, out=Path)
    params = load_section("samples", ImagesParams, args.params).model_dump()
    base = load_section("backbone", BackboneParams, args.params)
    row = load_row("models", args.model, ModelParams, args.params)
    weights = Path(row.weights)
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    prompts = {item["item_id"]: item["prompt"] for item in read_table(args.benchmark, "benchmark")}
    experts = {name: weights / f"{name}.safetensors" for name in getattr(row, "experts", ())}
    taught = bool(experts) or not weights.is_dir()
    folder = Path(base.path) if taught else weights
    settings = {"seed": seed, **machine, **params, **base.model_dump(), "row": row.model_dump()}
    inputs = [args.benchmark, folder, *(experts.values() if experts else [weights])]
    total, names = len(prompts) * params["per_prompt"], ("samples", args.benchmark.stem)
    with resumable_work(
        "-".join([*names, args.model]), inputs, settings,
        total=total, what="pictures", libraries=LIBRARIES,
    ) as (work, advance):  # fmt: skip
        backbone = load_backbone(str(folder), base.dtype, prepare_device())
        if experts:
            params["take_step"] = combine(backbone, experts, row)
        elif taught:
            teach(backbone, weights)
        drawn = draw(
            prompts, backbone, names=names, seed=seed, directory=work, advance=advance, **params
        )
        write_table(args.out, "samples", drawn.rows)
    logger.info(in_words(drawn.counts))


def teach(backbone: Backbone, weights: Path) -> None:
    """Put a router on the backbone, or add an adapter to its weights; the file says which it is."""
    if not is_router(weights):
        add_updates(backbone.components, read_updates(weights), str(weights))
        return
    from selma.diffusion.routing import add_router

    router = read_router(weights)
    add_router(
        backbone, router.layers, router.experts,
        top_k=router.top_k, gates=router.gates, source=str(weights),
    )  # fmt: skip


def combine(backbone: Backbone, experts: Mapping[str, Path], row: Any) -> TakeStep:
    """Prepare experts for a way of drawing in which they stay apart."""
    known = {name: read_updates(path) for name, path in experts.items()}
    weights = ExpertWeights(backbone, known, {name: str(path) for name, path in experts.items()})
    if row.combine == "switch":
        return Switch(weights, row.experts, row.every_steps)
    return Composite(weights, row.experts)


if __name__ == "__main__":
    run_stage("samples", main)
