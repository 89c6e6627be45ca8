"""Lets the base model draw its own training pictures, one skill at a time."""

import argparse
import logging
from pathlib import Path

from selma.backbone import load_backbone
from selma.devices import prepare_device
from selma.images.batches import batch_drawer, draw_resumably
from selma.images.pictures import as_images, count_black, make_requests
from selma.images.sampling import count_truncated
from selma.params import PARAMS_PATH, BackboneParams, ImagesParams, load_section, load_value
from selma.runtime import progress, run_stage, set_threads, workspace, write_json
from selma.tables import read_table, write_table

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
