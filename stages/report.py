"""Writes the report: one self-contained page and one picture."""

import logging
from pathlib import Path

from selma.core.files import read_json, read_text, write_bytes_atomic
from selma.core.tables import read_about, read_table
from selma.report.charts import parse_curve
from selma.report.examples import build_examples, choose_examples, count_outcomes, typical_examples
from selma.report.grid import render_grid
from selma.report.page import Content, render_page
from selma.runtime import params, sections
from selma.runtime.arguments import stage_arguments
from selma.runtime.fit_params import FitParams
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)
GRID_COLUMNS = 6


def main(argv: list[str] | None = None) -> None:
    """Show the numbers of all models, and pictures of reference and subject side by side."""
    args = stage_arguments(argv, __doc__, data=Path, metrics=Path, curves=Path, out=Path)
    settings = params.load_section("report", sections.ReportParams, args.params)
    compare = params.load_section("compare", sections.CompareParams, args.params)
    sought = ("skills", "mixtures", "routers", "distillations", "merges", "searches", "measures")
    names = {name: list(params.load_rows(name, object, args.params)) for name in sought}
    models = list(dict.fromkeys((compare.reference, compare.subject)))
    answers = None
    if settings.measure in names["measures"]:
        row = params.load_row("measures", settings.measure, sections.MeasureParams, args.params)
        benchmark = params.load_row(
            "answers", row.answers, sections.AnswersParams, args.params
        ).benchmark
        answers = _tables(args.data / "answers" / row.answers, "answers", models)
    else:
        benchmark = params.load_row(
            "preferences", settings.measure, sections.PreferenceParams, args.params
        ).benchmark
    file = f"{benchmark}.parquet"
    scores = args.data / "scores" / settings.measure
    examples = build_examples(
        read_table(args.data / "benchmarks" / file, "benchmark"),
        {m: read_table(args.data / "samples" / m / file, "samples") for m in models},
        answers,
        _tables(scores, "scores", models),
        factor=read_about(scores / f"{models[0]}.parquet")["factor"],
    )
    trained = [f"experts/{name}" for name in names["skills"]]
    trained += [f"{kind}/{name}" for kind in ("mixtures", "routers") for name in names[kind]]
    trained += [f"distilled/{name}" for name in names["distillations"]]
    fits = params.load_rows("fits", FitParams, args.params)
    trained += [f"fits/{name}" for name, row in fits.items() if row.kind == "cat"]
    certified = {name: f"merges/{name}" for name in names["merges"]}
    certified |= {f"{name} (fit)": f"fits/{name}" for name in fits}
    certified |= {f"{name} (search)": f"searches/{name}" for name in names["searches"]}
    curves = {Path(name).name: args.curves / f"{name}.csv" for name in trained}
    content = Content(
        comparison=read_json(args.metrics / "comparison.json"),
        measure=settings.measure,
        skills=names["skills"],
        curves={name: parse_curve(read_text(path), str(path)) for name, path in curves.items()},
        certificates={n: _merge(args.metrics / f"{p}.json") for n, p in certified.items()},
        examples=choose_examples(examples, settings.examples),
        n_by_outcome=count_outcomes(examples),
    )
    write_bytes_atomic(args.out / "report.html", render_page(content).encode())
    grid = render_grid(typical_examples(examples, GRID_COLUMNS), models)
    write_bytes_atomic(args.out / "grid.png", grid)
    logger.info("wrote a report with %d of %d pairs", len(content.examples), len(examples))


def _merge(path: Path) -> dict[str, object]:
    """What was measured of a merge; a search's file also holds its trials."""
    facts = read_json(path)
    merge: dict[str, object] = facts.get("merge", facts)
    return merge


def _tables(folder: Path, kind: str, models: list[str]) -> dict[str, list[dict[str, object]]]:
    return {model: read_table(folder / f"{model}.parquet", kind) for model in models}


def main_and_track() -> None:
    """Write the report, then bring the runs to MLflow as far as that is possible."""
    main()
    from selma.tracking.command import track_quietly

    track_quietly()


if __name__ == "__main__":
    run_stage("report", main_and_track)
