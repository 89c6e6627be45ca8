"""Lets a judge answer the benchmarks' questions about a model's pictures."""

import argparse
import logging
from pathlib import Path

from selma.choices import choose
from selma.evaluation.judges import JUDGES, judge_samples
from selma.params import PARAMS_PATH, AnswersParams, load_section
from selma.runtime import progress, run_stage
from selma.tables import read_table, write_table

logger = logging.getLogger(__name__)
BENCHMARKS = ("pocket-dsg", "pocket-tifa")


def main(argv: list[str] | None = None) -> None:
    """Answer all questions of both benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m stages.answers", description=__doc__)
    parser.add_argument("--model", required=True, help="whose pictures: base, merged, mixture")
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("answers", AnswersParams, args.params)
    judge = choose("judge", params.judge, JUDGES)
    for name in BENCHMARKS:
        file = f"{name}.parquet"
        samples = read_table(Path("data/samples") / args.model / file, "samples")
        with progress(len(samples), f"answers {args.model} {name}") as advance:
            answers = judge_samples(
                read_table(Path("data/benchmarks") / file, "benchmark"),
                samples,
                judge,
                judge_name=params.judge,
                revision=params.revision,
                batch_size=params.batch_size,
                advance=advance,
            )
        write_table(Path("data/answers") / params.judge / args.model / file, "answers", answers)
        logger.info("%d answers about %d pictures of %s", len(answers), len(samples), name)


if __name__ == "__main__":
    run_stage("answers", main)
