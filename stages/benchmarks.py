"""Stage benchmarks (foundation): writes the pocket world's benchmarks."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from selma.core.tables import write_table
from selma.foundation.benchmarks import BENCHMARKS, benchmark_rows
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Write one Parquet file per benchmark into the folder --out."""
    parser = argparse.ArgumentParser(prog="stages.benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the Parquet files")
    parser.add_argument("--items", type=int, required=True, help="prompts per skill")
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args(argv)
    for name in BENCHMARKS:
        rows = benchmark_rows(name, args.items, args.seed)
        write_table(args.out / f"{name}.parquet", "benchmark", rows)
        questions = sum(len(row["questions"]) for row in rows)
        logger.info("wrote %d prompts with %d questions for %s", len(rows), questions, name)


if __name__ == "__main__":
    run_stage("benchmarks", lambda: main(sys.argv[1:]))
