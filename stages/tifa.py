"""Scores a model's answers by TIFA: multiple-choice questions."""

import argparse
import logging
from pathlib import Path

from selma.core.tables import content_hash, read_about, read_table, write_table
from selma.metrics.replies import NO_ANSWER_MAX
from selma.metrics.tifa import load_mapping, score_tifa
from selma.runtime.params import PARAMS_PATH, AnswersParams, TifaParams, load_section
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Score each picture from the stored answers; no model runs."""
    parser = argparse.ArgumentParser(prog="python -m stages.tifa", description=__doc__)
    parser.add_argument("--model", required=True, help="whose answers: base, merged, mixture")
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("tifa", TifaParams, args.params)
    judge = load_section("answers", AnswersParams, args.params).judge
    benchmark = Path("data/benchmarks/pocket-tifa.parquet")
    answers = Path("data/answers") / judge / args.model / "pocket-tifa.parquet"
    questions, given = read_table(benchmark, "benchmark"), read_table(answers, "answers")
    scores, about = score_tifa(
        questions,
        given,
        mapping=load_mapping(params.mapping, params.sbert_path, questions, given),
        no_answer_max=NO_ANSWER_MAX,
        judge_about=read_about(answers),
    )
    about["benchmark"] = benchmark.stem
    about["benchmark_sha256"] = content_hash(questions, "benchmark")
    write_table(Path("data/scores/tifa") / f"{args.model}.parquet", "scores", scores, about)
    mean = 100 * sum(row["score"] for row in scores) / max(1, len(scores))
    logger.info("tifa of %d pictures of %s: %.2f %%", len(scores), args.model, mean)


if __name__ == "__main__":
    run_stage("tifa", main)
