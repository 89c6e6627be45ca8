"""A benchmark, from wherever it lies."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import ConfigError
from selma.core.tables import read_table

Row = Mapping[str, Any]


def read_benchmark(path: Path, sources: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Read a benchmark's table, or a public file of it, and keep the items of some sources.

    Args:
        path: a .parquet table, DSG's annotations (.csv) or TIFA's questions (.json).
        sources: empty for all.

    Raises:
        ConfigError: it is no file, or a source is not in the benchmark.
        MissingDataError: there is no such file.
        RecordError: the file does not hold what its format says.
    """
    from selma.benchmarks.dsg1k import read_dsg_annotations
    from selma.benchmarks.tifa import read_tifa_questions

    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: is no file; expected a benchmark")
    if path.suffix == ".parquet":
        rows = read_table(path, "benchmark")
    else:
        rows = (read_tifa_questions if path.suffix == ".json" else read_dsg_annotations)(path)
    known = sorted({row["source"] for row in rows})
    unknown = sorted(set(sources) - set(known))
    if unknown:
        raise ConfigError(
            f"source {' '.join(unknown)}: not in {path}; its sources: {', '.join(known)}"
        )
    return [row for row in rows if not sources or row["source"] in sources]


def benchmark_aliases(path: Path) -> dict[str, str]:
    """Read the second names of a TIFA file's items: entries may carry an item_id beside the id."""
    if path.suffix != ".json":
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {entry["id"]: entry["item_id"] for entry in entries if "item_id" in entry}
