"""Scores every model's answers by one measure: DSG or TIFA; arithmetic alone."""

import logging
from pathlib import Path

from selma.core.tables import read_about, read_table, write_table
from selma.measuring.scoring import score_answers
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.model_params import ModelParams
from selma.runtime.params import load_row, load_rows
from selma.runtime.sections import AnswersParams, MeasureParams
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Write one scores table for each model of params.yaml."""
    args = stage_arguments(argv, __doc__, measure=str, benchmarks=Path, answers=Path, out=Path)
    row = load_row("measures", args.measure, MeasureParams, args.params)
    asked = load_row("answers", row.answers, AnswersParams, args.params)
    prepare_machine(args.params)
    benchmark = read_table(args.benchmarks / f"{asked.benchmark}.parquet", "benchmark")
    settings = row.model_dump(include={"policy", "mean", "mapping"})
    if row.kind == "tifa":
        settings["sbert_path"] = row.path
    for model in load_rows("models", ModelParams, args.params):
        answers = args.answers / f"{model}.parquet"
        scores, about = score_answers(
            row.kind,
            benchmark,
            read_table(answers, "answers"),
            read_about(answers),
            settings=settings,
            measure=args.measure,
            title=row.title,
            benchmark_name=asked.benchmark,
            no_answer_max=row.no_answer_max,
        )
        write_table(args.out / f"{model}.parquet", "scores", scores, about)
        mean = 100 * sum(row["score"] for row in scores) / len(scores)
        logger.info("%s: %.2f %% of %d pictures", model, mean, len(scores))


if __name__ == "__main__":
    run_stage("scores", main)
