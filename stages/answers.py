"""Lets a judge answer the benchmarks' questions about a model's pictures."""

import argparse
import logging
from pathlib import Path

from selma.core.tables import read_table, write_table
from selma.judges.loading import describe_judge, judge_settings, load_judge, normaliser
from selma.measuring.answer_log import AnswerLog
from selma.measuring.asking import judge_samples
from selma.pictures.checks import check_table
from selma.runtime.params import PARAMS_PATH, AnswersParams, load_section
from selma.runtime.progress import progress
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace

logger = logging.getLogger(__name__)
BENCHMARKS = ("dsg", "tifa")


def main(argv: list[str] | None = None) -> None:
    """Answer all questions of both benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m stages.answers", description=__doc__)
    parser.add_argument("--model", required=True, help="whose pictures: base, merged, mixture")
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("answers", AnswersParams, args.params)
    values = params.model_dump()
    for name in BENCHMARKS:
        file = f"pocket-{name}.parquet"
        pictures, questions = (
            Path("data/samples") / args.model / file,
            Path("data/benchmarks", file),
        )
        benchmark = read_table(questions, "benchmark")
        samples = check_table(
            str(pictures), read_table(pictures, "samples"), benchmark, only_asked=True
        ).rows
        settings = judge_settings(values, template=values[f"{name}_template"])
        with (
            workspace(f"answers-{args.model}-{name}", [pictures, questions], values) as work,
            progress(len(samples), f"answers {args.model} {name}") as advance,
        ):
            judge = load_judge(params.judge, settings, work / "replies.jsonl")
            about = {**describe_judge(judge.about, settings), "normalise": params.normalise}
            answers = judge_samples(
                benchmark,
                samples,
                judge,
                judge_name=params.judge,
                revision=about.get("revision") or params.revision or "",
                batch_size=params.batch_size,
                normalise=normaliser(params.normalise),
                advance=advance,
                store=AnswerLog(work / "answers.jsonl", about),
            )
            out = Path("data/answers") / params.judge / args.model / file
            write_table(out, "answers", answers, about)
        logger.info("%d answers about %d pictures of %s", len(answers), len(samples), name)


if __name__ == "__main__":
    run_stage("answers", main)
