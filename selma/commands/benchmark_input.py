"""The benchmark that a command line names: an imported table or a public file, or parts of it."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import ConfigError


def read_benchmark(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Read --benchmark or --annotations, and keep the items of --source.

    Raises:
        ConfigError: a source is not in the benchmark.
        MissingDataError: there is no such file.
        RecordError: the file does not hold what its format says.
    """
    from selma.benchmarks.dsg1k import read_dsg_annotations
    from selma.benchmarks.tifa import read_tifa_questions
    from selma.core.tables import read_table

    path: Path = args.benchmark or args.annotations
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: is no file; expected a benchmark")
    if args.benchmark is not None:
        rows = read_table(args.benchmark, "benchmark")
    elif args.annotations.suffix == ".json":
        rows = read_tifa_questions(args.annotations)
    else:
        rows = read_dsg_annotations(args.annotations)
    return _of_sources(rows, args.source)


def benchmark_name(args: argparse.Namespace) -> str:
    """Name the benchmark for the score file: the file's stem and the chosen sources."""
    path: Path = args.benchmark or args.annotations
    return path.stem + (f" ({', '.join(sorted(args.source))})" if args.source else "")


def aliases_of(path: Path | None) -> dict[str, str]:
    """Read the second names of a TIFA file's items: entries may carry an item_id beside the id."""
    if path is None or path.suffix != ".json":
        return {}
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {entry["id"]: entry["item_id"] for entry in entries if "item_id" in entry}


def _of_sources(rows: list[dict[str, Any]], sources: Sequence[str]) -> list[dict[str, Any]]:
    known = sorted({row["source"] for row in rows})
    unknown = sorted(set(sources) - set(known))
    if unknown:
        raise ConfigError(
            f"--source {' '.join(unknown)}: not in the benchmark; its sources: {', '.join(known)}"
        )
    return [row for row in rows if not sources or row["source"] in sources]
