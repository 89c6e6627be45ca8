"""Stage dev_split (foundation): writes a dev split of a benchmark, of prompts that are in none."""

import logging
from pathlib import Path

from selma.core.tables import read_table, write_table
from selma.foundation.benchmarks import dev_rows
from selma.runtime.arguments import stage_arguments
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Write --items prompts a skill, none of which is in a table of --benchmarks."""
    args = stage_arguments(
        argv, __doc__, name=str, benchmarks=[Path], items=int, seed=int, out=Path
    )
    tables = [read_table(path, "benchmark") for path in sorted(args.benchmarks)]
    prompts = [row["prompt"] for table in tables for row in table]
    rows = dev_rows(args.name, args.items, args.seed, prompts)
    write_table(args.out, "benchmark", rows)
    logger.info("wrote %d prompts, none of the benchmarks' %d", len(rows), len(prompts))


if __name__ == "__main__":
    run_stage("dev_split", main)
