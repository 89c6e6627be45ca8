"""Finds the benchmark tables that a list of files and folders stands for."""

from collections.abc import Sequence
from pathlib import Path

from selma.core.errors import ConfigError, MissingDataError
from selma.core.tables import read_table


def benchmark_files(paths: Sequence[Path]) -> list[Path]:
    """Find the benchmark tables that files and folders (for their *.parquet) stand for, sorted.

    Raises MissingDataError if a path is not there or a folder holds no table, and ConfigError if
    two files have one name, because items go by it.
    """
    files: set[Path] = set()
    for path in paths:
        found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not found or not all(file.is_file() for file in found):
            raise MissingDataError(
                f"{path}: no benchmark table; run `dvc pull`, `dvc repro` or `selma import`"
            )
        files.update(found)
    by_name: dict[str, Path] = {}
    for file in sorted(files):
        other = by_name.setdefault(file.stem, file)
        if other != file:
            raise ConfigError(f"{file} and {other}: two benchmarks of one name; rename one")
    return sorted(files)


def benchmark_prompts(paths: Sequence[Path]) -> dict[str, str]:
    """Read the prompts of all those tables, by ``TABLE/item_id``; raises as `benchmark_files`."""
    return {
        f"{file.stem}/{row['item_id']}": row["prompt"]
        for file in benchmark_files(paths)
        for row in read_table(file, "benchmark")
    }
