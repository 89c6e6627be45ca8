"""Lets the base model draw its own training pictures, one skill at a time."""

import argparse
import logging
from pathlib import Path

from selma.core.devices import prepare_device, set_threads
from selma.core.files import write_json
from selma.core.tables import read_table, write_table
from selma.diffusion.backbone import load_backbone
from selma.diffusion.batches import batch_drawer, draw_resumably
from selma.diffusion.requests import as_images, make_requests
from selma.diffusion.sampling import count_truncated
from selma.pictures.png import count_black
from selma.runtime.params import PARAMS_PATH, BackboneParams, ImagesParams, load_section, load_value
from selma.runtime.progress import progress
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Draw `images.per_prompt` pictures of each prompt of a skill."""
    parser = argparse.ArgumentParser(prog="python -m stages.images", description=__doc__)
    parser.add_argument("--skill", required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("images", ImagesParams, args.params)
    model = load_section("backbone", BackboneParams, args.params)
    seed, threads = load_value("seed", args.params), load_value("threads", args.params)
    prompts = {row["prompt_id"]: row["prompt"] for row in read_table(args.prompts, "prompts")}
    requests = make_requests(prompts, params.per_prompt, seed, "images", args.skill)
    set_threads(threads)
    backbone = load_backbone(model.path, model.revision, model.dtype, prepare_device())
    draw = batch_drawer(
        backbone, guidance_scale=params.guidance_scale, inference_steps=params.inference_steps
    )
    inputs = [args.prompts, *([Path(model.path)] if model.revision is None else [])]
    settings = {"seed": seed, "threads": threads, **params.model_dump(), **model.model_dump()}
    with workspace(f"images-{args.skill}", inputs, settings) as work:
        with progress(len(requests), f"images {args.skill}") as advance:
            rows = draw_resumably(requests, draw, work, params.batch_size, advance)
        cut = count_truncated(list(prompts.values()), backbone)
        counts = {"n": len(rows), "truncated_prompts": cut, "black_images": count_black(rows)}
        write_json(args.metrics, counts)
        write_table(args.out, "images", as_images(rows))
    logger.info("%s: %s", args.skill, counts)


if __name__ == "__main__":
    run_stage("images", main)
