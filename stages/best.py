"""Keeps of a prompt's pictures the best, if it is good enough by its raters."""

import logging
import shutil
from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.files import read_json, write_json, written_whole
from selma.core.tables import read_table, write_table
from selma.llm.budget import LEDGER
from selma.llm.generators import LlmOptions, kept_replies, make_answer, usage_of
from selma.llm.transcript import as_rows
from selma.measuring.choosing import all_kept, choose_best
from selma.measuring.raters import asks, libraries_of, rate_by_all
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.journal import root
from selma.runtime.params import load_section
from selma.runtime.released import released_table
from selma.runtime.sections import LlmParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Rate and choose; where the source wants no choice the table is passed through as it is."""
    args = stage_arguments(
        argv, __doc__, skill=str, images=Path, best=Path, out=Path, transcript=Path, metrics=Path
    )
    rows, best_of = read_table(args.images, "images"), read_json(args.best)
    if best_of is None:
        with written_whole(args.out) as part:
            shutil.copyfile(args.images, part)
        write_table(args.transcript, "transcript", [])
        write_json(args.metrics, all_kept(rows))
        return
    llm = LlmOptions(**load_section("llm", LlmParams, args.params).model_dump())
    seed = load_section("seed", Seed, args.params)
    machine = prepare_machine(args.params)
    raters = best_of["raters"]
    with resumable_work(
        f"best-{args.skill}", [args.images, args.best],
        {"seed": seed, **machine, "llm": llm.deciding()},
        total=len(rows) * len(raters), what="ratings", libraries=libraries_of(raters, llm),
    ) as (work, advance):  # fmt: skip
        rated = rate_by_all(
            raters, rows, llm=llm,
            answer=make_answer(llm, root() / LEDGER) if asks(raters) else None,
            transcript=kept_replies(llm, work, root(), args.transcript, released_table), seed=seed,
            device=prepare_device(), directory=work, advance=advance,
        )  # fmt: skip
        thresholds, rank_by = best_of["thresholds"], best_of["rank_by"]
        chosen = choose_best(rows, rated.ratings, thresholds=thresholds, rank_by=rank_by)
        write_table(args.out, "images", chosen.rows)
        write_table(args.transcript, "transcript", as_rows(rated.exchanges))
        write_json(args.metrics, {**chosen.counts, **usage_of(rated.exchanges)})
    logger.info("kept a picture of %(kept)d of %(prompts)d prompts", chosen.counts)


if __name__ == "__main__":
    run_stage("best", main)
