"""Draws and rates pictures of the prompts of a skill's pictures; of these pairs are chosen."""

import logging
import math
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.devices import prepare_device
from selma.core.files import read_json, write_json
from selma.core.tables import stream_table, write_table
from selma.diffusion.drawing import draw
from selma.diffusion.loading import LIBRARIES, load_backbone
from selma.diffusion.requests import as_images
from selma.llm.budget import LEDGER
from selma.llm.generators import LlmOptions, kept_replies, make_answer, usage_of
from selma.llm.transcript import as_rows
from selma.measuring.raters import asks, libraries_of, rate_by_all
from selma.pictures.pairs import describe_ratings
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.journal import root
from selma.runtime.params import load_objective, load_section, load_skill_section
from selma.runtime.progress import in_words
from selma.runtime.released import released_table
from selma.runtime.sections import BackboneParams, LlmParams, Seed, TrainingImagesParams
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Write rated pictures; for an objective without pairs an empty table."""
    args = stage_arguments(
        argv, __doc__, skill=str, images=Path, objective=Path, out=Path, transcript=Path,
        metrics=Path,
    )  # fmt: skip
    pairs = load_objective(args.params).pairs
    if pairs is None:
        write_table(args.out, "pairs", [])
        write_table(args.transcript, "transcript", [])
        write_json(args.metrics, {"pictures": 0})
        return
    drawing = load_skill_section("images", TrainingImagesParams, args.skill, args.params)
    drawing = drawing.model_dump(exclude={"source"}) | pairs.images.model_dump(exclude_unset=True)
    model = load_section("backbone", BackboneParams, args.params)
    llm = LlmOptions(**load_section("llm", LlmParams, args.params).model_dump())
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    one = choose(f"rater in {args.objective}", pairs.rater, read_json(args.objective)["raters"])
    raters = {pairs.rater: one}
    prompts = {row["prompt_id"]: row["prompt"] for row in stream_table(args.images, "images")}
    settings: dict[str, Any] = {"seed": seed, **machine, **drawing, **model.model_dump()}
    shared = libraries_of(raters, llm)
    with resumable_work(
        f"pairs-{args.skill}", [args.images, args.objective, Path(model.path)],
        {**settings, "llm": llm.deciding()},
        total=len(prompts) * drawing["per_prompt"], what="pictures",
        libraries=None if shared is None else [*LIBRARIES, *shared],
    ) as (work, advance):  # fmt: skip
        backbone = load_backbone(model.path, model.dtype, prepare_device())
        drawn = draw(
            prompts, backbone, names=("pairs", args.skill), seed=seed, directory=work,
            advance=advance, **drawing,
        )  # fmt: skip
        rows = as_images(drawn.rows)
        found = rate_by_all(
            raters, rows, llm=llm,
            answer=make_answer(llm, root() / LEDGER) if asks(raters) else None,
            transcript=kept_replies(llm, work, root(), args.transcript, released_table), seed=seed,
            device=backbone.device, directory=work, advance=lambda _: None,
        )  # fmt: skip
        ratings = found.ratings[pairs.rater]
        rated = [
            {**row, "rating": rating}
            for row, rating in zip(rows, ratings, strict=True)
            if not math.isnan(rating)
        ]
        seen = {**drawn.counts, "unrated": len(rows) - len(rated), **describe_ratings(rated)}
        write_json(args.metrics, {**seen, **usage_of(found.exchanges)})
        write_table(args.transcript, "transcript", as_rows(found.exchanges))
        write_table(args.out, "pairs", rated)
    logger.info(in_words(drawn.counts))


if __name__ == "__main__":
    run_stage("pairs", main)
