"""Draws the benchmarks' prompts with a model: the base, or the base with an adapter."""

import argparse
import logging
from pathlib import Path

from selma.core.devices import prepare_device, set_threads
from selma.core.tables import read_table, write_table
from selma.diffusion.backbone import add_updates, load_backbone
from selma.diffusion.batches import batch_drawer, draw_resumably
from selma.diffusion.requests import make_requests
from selma.diffusion.sampling import count_truncated
from selma.merging.files import read_adapter
from selma.pictures.png import count_black
from selma.runtime.params import PARAMS_PATH, BackboneParams, ImagesParams, load_section, load_value
from selma.runtime.progress import progress
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Draw `samples.per_prompt` pictures of each prompt, with the same seeds for every model."""
    parser = argparse.ArgumentParser(prog="python -m stages.samples", description=__doc__)
    parser.add_argument("--model", required=True, help="the name of what is drawn with")
    parser.add_argument("--adapter", type=Path, help="without it, the base model draws")
    parser.add_argument("--benchmarks", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("samples", ImagesParams, args.params)
    model = load_section("backbone", BackboneParams, args.params)
    seed, threads = load_value("seed", args.params), load_value("threads", args.params)
    tables = {path.stem: read_table(path, "benchmark") for path in args.benchmarks}
    inputs = [*args.benchmarks, *([Path(model.path)] if model.revision is None else [])]
    set_threads(threads)
    backbone = load_backbone(model.path, model.revision, model.dtype, prepare_device())
    if args.adapter:
        inputs.append(args.adapter)
        updates = ((name, factors.delta()) for name, factors in read_adapter(args.adapter).items())
        add_updates(backbone.unet, updates, str(args.adapter))
    draw = batch_drawer(
        backbone, guidance_scale=params.guidance_scale, inference_steps=params.inference_steps
    )
    settings = {"seed": seed, "threads": threads, **params.model_dump(), **model.model_dump()}
    with workspace(f"samples-{args.model}", inputs, settings) as work:
        for name, items in tables.items():
            prompts = {row["item_id"]: row["prompt"] for row in items}
            requests = make_requests(prompts, params.per_prompt, seed, "samples", name)
            with progress(len(requests), f"samples {args.model} {name}") as advance:
                rows = draw_resumably(requests, draw, work / name, params.batch_size, advance)
            write_table(args.out / f"{name}.parquet", "samples", rows)
            cut = count_truncated(list(prompts.values()), backbone)
            done = f"{len(rows)} pictures, {cut} prompts cut, {count_black(rows)} black"
            logger.info("%s on %s: %s", args.model, name, done)


if __name__ == "__main__":
    run_stage("samples", main)
