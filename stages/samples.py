"""Draws a benchmark's prompts with a model: a backbone, or the backbone with an adapter."""

import logging
from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.tables import read_table, write_table
from selma.diffusion.drawing import draw
from selma.diffusion.loading import LIBRARIES, add_updates, load_backbone
from selma.merging.files import read_adapter
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
    weights = Path(load_row("models", args.model, ModelParams, args.params).weights)
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    prompts = {row["item_id"]: row["prompt"] for row in read_table(args.benchmark, "benchmark")}
    folder = weights if weights.is_dir() else Path(base.path)
    settings = {"seed": seed, **machine, **params, **base.model_dump()}
    inputs = [args.benchmark, folder, weights]
    total, names = len(prompts) * params["per_prompt"], ("samples", args.benchmark.stem)
    with resumable_work(
        "-".join([*names, args.model]), inputs, settings,
        total=total, what="pictures", libraries=LIBRARIES,
    ) as (work, advance):  # fmt: skip
        backbone = load_backbone(str(folder), base.dtype, prepare_device())
        if folder != weights:
            adapter = read_adapter(weights).items()
            updates = ((name, layer.delta().view(layer.weight_shape)) for name, layer in adapter)
            add_updates(backbone.components, updates, str(weights))
        drawn = draw(
            prompts, backbone, names=names, seed=seed, directory=work, advance=advance, **params
        )
        write_table(args.out, "samples", drawn.rows)
    logger.info(in_words(drawn.counts))


if __name__ == "__main__":
    run_stage("samples", main)
