"""Writes the report: one self-contained page and one picture."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from selma.core.errors import MissingDataError, RecordError
from selma.core.files import write_bytes_atomic
from selma.core.tables import read_table
from selma.report.content import (
    MODELS,
    Content,
    build_examples,
    choose_examples,
    count_outcomes,
    parse_curve,
    typical_examples,
)
from selma.report.grid import render_grid
from selma.report.page import render_page
from selma.runtime.params import PARAMS_PATH, ReportParams, load_section
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)
GRID_COLUMNS = 6


def main(argv: list[str] | None = None) -> None:
    """Read scores, answers and pictures of both models; write report.html and grid.png."""
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="where data/ and metrics/ lie")
    parser.add_argument("--benchmark", default="pocket-dsg")
    parser.add_argument("--judge", default="pocket")
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)
    root, data, file = args.root, args.root / "data", f"{args.benchmark}.parquet"

    params = load_section("report", ReportParams, args.params)
    examples = build_examples(
        read_table(data / "benchmarks" / file, "benchmark"),
        {m: read_table(data / "samples" / m / file, "samples") for m in MODELS},
        {m: read_table(data / "answers" / args.judge / m / file, "answers") for m in MODELS},
        {m: read_table(data / "scores/dsg" / f"{m}.parquet", "scores") for m in MODELS},
    )
    comparison = _read_json(root / "metrics/comparison.json")
    certificate = _read_json(root / "metrics/merge.json")
    trained = [*sorted(certificate["norm"]), "mixture"]
    content = Content(
        scores=comparison["scores"],
        comparisons=comparison["comparisons"],
        certificate=certificate,
        curves={name: _read_curve(root / f"plots/loss/{name}.csv") for name in trained},
        examples=choose_examples(examples, params.examples),
        n_by_outcome=count_outcomes(examples),
    )
    write_bytes_atomic(root / "report/report.html", render_page(content).encode())
    grid = render_grid(typical_examples(examples, GRID_COLUMNS))
    write_bytes_atomic(root / "report/grid.png", grid)
    logger.info("wrote a report with %d of %d pairs", len(content.examples), len(examples))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file; run `dvc repro`") from error


def _read_curve(path: Path) -> list[tuple[int, float]]:
    return parse_curve(_read_text(path), str(path))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except ValueError as error:
        raise RecordError(f"{path}: not valid JSON ({error}); run `dvc repro`") from error


def main_and_track() -> None:
    """Write the report, then bring the runs to MLflow as far as that is possible."""
    main()
    from selma.tracking.command import track_quietly

    track_quietly()


if __name__ == "__main__":
    run_stage("report", main_and_track)
