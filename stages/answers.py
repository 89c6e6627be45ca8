"""Lets a judge answer a benchmark's questions about a model's pictures."""

import logging
from pathlib import Path

from selma.core.tables import read_table, write_table
from selma.judges.loading import WITHOUT_WEIGHTS, row_settings
from selma.measuring.asking import ask
from selma.measuring.samples import read_samples
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.params import load_row
from selma.runtime.sections import AnswersParams, JudgeParams
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Answer all questions; a run that was killed goes on where it was."""
    args = stage_arguments(
        argv, __doc__, answers=str, model=str, benchmarks=Path, samples=Path, out=Path
    )
    row = load_row("answers", args.answers, AnswersParams, args.params)
    judge = load_row("judges", row.judge, JudgeParams, args.params)
    machine = prepare_machine(args.params)
    table = args.benchmarks / f"{row.benchmark}.parquet"
    samples = args.samples / f"{row.benchmark}.parquet"
    benchmark = read_table(table, "benchmark")
    pictures = read_samples(samples, benchmark, only_asked=True, allow_partial=False)
    path = None if judge.kind in WITHOUT_WEIGHTS else judge.path
    values = {**row.model_dump(), **judge.model_dump(), **machine}
    label = f"answers-{args.answers}-{args.model}"
    with resumable_work(
        label,
        [samples, table, *([Path(path)] if path else [])],
        values,
        total=len(pictures.rows),
        what="pictures",
        libraries=None if judge.kind == "endpoint" else (),  # its limit is of requests at once
    ) as (work, advance):
        settings = row_settings(judge.model_dump(), template=row.template)
        answers, about = ask(
            benchmark,
            pictures,
            kind=judge.kind,
            settings=settings,
            revision=judge.revision or "",
            normalise=judge.normalise,
            batch_size=judge.batch_size,
            log=work / "answers.jsonl",
            replies=work / "replies.jsonl",
            advance=advance,
        )
        write_table(args.out, "answers", answers, about)
    logger.info("%d answers about %d pictures", len(answers), len(pictures.rows))


if __name__ == "__main__":
    run_stage("answers", main)
