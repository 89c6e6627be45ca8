"""Scores a model's pictures by a preference model: PickScore, ImageReward, HPS or CLIPScore."""

import logging
from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.tables import read_table, write_table
from selma.measuring.preferring import load_scorer, score_pictures
from selma.measuring.samples import read_samples
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.params import PreferenceParams, load_row
from selma.runtime.progress import progress
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Score each picture against its prompt."""
    args = stage_arguments(
        argv, __doc__, preference=str, model=str, benchmarks=Path, samples=Path, out=Path
    )
    row = load_row("preferences", args.preference, PreferenceParams, args.params)
    prepare_machine(args.params)
    file = f"{row.benchmark}.parquet"
    benchmark = read_table(args.benchmarks / file, "benchmark")
    pictures = read_samples(args.samples / file, benchmark, only_asked=False, allow_partial=False)
    scorer = load_scorer(
        row.kind,
        Path(row.path),
        version=row.version,
        antialias=row.antialias,
        device=prepare_device(),
    )
    with progress(len(pictures.rows), "pictures") as advance:
        scores, about = score_pictures(
            benchmark,
            pictures,
            scorer,
            kind=row.kind,
            judge=row.path,
            measure=args.preference,
            title=row.title,
            benchmark_name=row.benchmark,
            batch_size=row.batch_size,
            advance=advance,
        )
    write_table(args.out, "scores", scores, about)
    mean = sum(row["score"] for row in scores) / len(scores)
    logger.info("mean %.4f of %d pictures", mean, len(scores))


if __name__ == "__main__":
    run_stage("preferences", main)
