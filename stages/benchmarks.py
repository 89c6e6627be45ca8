"""Stage benchmarks (foundation): writes the pocket world's benchmarks."""

import logging
from pathlib import Path

from selma.core.tables import write_table
from selma.foundation.benchmarks import BENCHMARKS, benchmark_rows
from selma.runtime.arguments import stage_arguments
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Write one Parquet file per benchmark into the folder --out, with --items prompts a skill."""
    args = stage_arguments(argv, __doc__, out=Path, items=int, seed=int)
    for name in BENCHMARKS:
        rows = benchmark_rows(name, args.items, args.seed)
        write_table(args.out / f"{name}.parquet", "benchmark", rows)
        questions = sum(len(row["questions"]) for row in rows)
        logger.info("wrote %d prompts with %d questions for %s", len(rows), questions, name)


if __name__ == "__main__":
    run_stage("benchmarks", main)
