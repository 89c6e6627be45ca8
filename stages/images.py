"""Lets the base model draw its own training pictures, one skill at a time."""

import logging
from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.files import write_json
from selma.core.tables import read_table, write_table
from selma.diffusion.drawing import draw
from selma.diffusion.loading import LIBRARIES, load_backbone
from selma.diffusion.requests import as_images
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.params import load_section, load_skill_section
from selma.runtime.progress import in_words
from selma.runtime.sections import BackboneParams, ImagesParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Draw `images.per_prompt` pictures of each prompt of a skill."""
    args = stage_arguments(argv, __doc__, skill=str, prompts=Path, out=Path, metrics=Path)
    params = load_skill_section("images", ImagesParams, args.skill, args.params).model_dump()
    model = load_section("backbone", BackboneParams, args.params)
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    prompts = {row["prompt_id"]: row["prompt"] for row in read_table(args.prompts, "prompts")}
    settings = {"seed": seed, **machine, **params, **model.model_dump()}
    inputs = [args.prompts, Path(model.path)]
    total = len(prompts) * params["per_prompt"]
    with resumable_work(
        f"images-{args.skill}", inputs, settings,
        total=total, what="pictures", libraries=LIBRARIES,
    ) as (work, advance):  # fmt: skip
        backbone = load_backbone(model.path, model.dtype, prepare_device())
        names = ("images", args.skill)
        drawn = draw(
            prompts, backbone, names=names, seed=seed, directory=work, advance=advance, **params
        )
        write_json(args.metrics, drawn.counts)
        write_table(args.out, "images", as_images(drawn.rows))
    logger.info(in_words(drawn.counts))


if __name__ == "__main__":
    run_stage("images", main)
