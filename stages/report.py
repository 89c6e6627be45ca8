"""Writes the report: one self-contained page and one picture."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from selma.core.errors import MissingDataError, RecordError
from selma.core.files import write_bytes_atomic
from selma.core.tables import read_about, read_table
from selma.report.charts import parse_curve
from selma.report.examples import (
    build_examples,
    choose_examples,
    count_outcomes,
    typical_examples,
)
from selma.report.grid import render_grid
from selma.report.page import Content, render_page
from selma.runtime.params import PARAMS_PATH, read_yaml
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)
GRID_COLUMNS = 6


def main(argv: list[str] | None = None) -> None:
    """Read scores, answers and pictures of reference and subject; write report.html, grid.png."""
    parser = argparse.ArgumentParser(prog="python -m stages.report", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="where data/ and metrics/ lie")
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)
    root, data, params = args.root, args.root / "data", read_yaml(args.params)

    measure, compare = params["report"]["measure"], params["compare"]
    row = {**params["measures"], **params["preferences"]}[measure]
    asked = params["answers"][row["answers"]] if "answers" in row else row
    models = list(dict.fromkeys((compare["reference"], compare["subject"])))
    benchmark = f"{asked['benchmark']}.parquet"
    tables = {model: data / "scores" / measure / f"{model}.parquet" for model in models}
    examples = build_examples(
        read_table(data / "benchmarks" / benchmark, "benchmark"),
        {m: read_table(data / "samples" / m / benchmark, "samples") for m in models},
        {m: read_table(data / "answers" / row["answers"] / f"{m}.parquet", "answers")
         for m in models} if "answers" in row else None,
        {model: read_table(path, "scores") for model, path in tables.items()},
        factor=read_about(tables[models[0]])["factor"],
    )  # fmt: skip
    curves = [f"experts/{name}" for name in params["skills"]]
    curves += [f"mixtures/{name}" for name in params["mixtures"]]
    content = Content(
        comparison=_read_json(root / "metrics/comparison.json"),
        measure=measure,
        skills=list(params["skills"]),
        curves={Path(name).name: _read_curve(root / f"plots/loss/{name}.csv") for name in curves},
        certificates={n: _read_json(root / f"metrics/merges/{n}.json") for n in params["merges"]},
        examples=choose_examples(examples, params["report"]["examples"]),
        n_by_outcome=count_outcomes(examples),
    )
    write_bytes_atomic(root / "report/report.html", render_page(content).encode())
    grid = render_grid(typical_examples(examples, GRID_COLUMNS), models)
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
