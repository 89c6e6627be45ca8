"""Foundation stages dev_split and large_benchmark: write more prompts of a benchmark's kind."""

import logging
from pathlib import Path

from selma.core.tables import read_table, write_table
from selma.foundation.benchmarks import split_rows
from selma.runtime.arguments import stage_arguments
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Write --items prompts a skill, none of which is in a table of --others."""
    args = stage_arguments(
        argv, __doc__, name=str, split=str, others=[Path], items=int, seed=int, out=Path
    )
    tables = [read_table(path, "benchmark") for path in sorted(args.others)]
    prompts = [row["prompt"] for table in tables for row in table]
    rows = split_rows(args.name, args.split, args.items, args.seed, prompts)
    write_table(args.out, "benchmark", rows)
    logger.info("wrote %d prompts, none of the %d that are taken", len(rows), len(prompts))


if __name__ == "__main__":
    run_stage("split", main)
