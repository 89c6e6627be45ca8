"""Finds the benchmark tables that a list of files and folders stands for."""

from collections.abc import Sequence
from pathlib import Path

from selma.core.errors import ConfigError, MissingDataError


def benchmark_files(paths: Sequence[Path]) -> list[Path]:
    """Find the benchmark tables that a list of files and folders stands for.

    Args:
        paths: files as they are; a folder stands for its *.parquet.

    Returns:
        Each file once, sorted.

    Raises:
        MissingDataError: a path is not there, or a folder holds no table.
        ConfigError: two files have one name, but items go by it.
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
