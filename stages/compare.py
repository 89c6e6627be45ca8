"""Compares the models' scores on the same prompts and writes the numbers people look at first."""

import logging
from pathlib import Path

from selma.comparing.items import item_scores
from selma.comparing.statistics import Bootstrap
from selma.comparing.summary import by_skill, headline, plot_csv, summarise
from selma.core.files import write_bytes_atomic, write_json
from selma.core.tables import read_about, read_table
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.params import load_rows, load_section
from selma.runtime.sections import CompareParams, Seed
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Read every measure's scores of every model; write three metrics files and a plot's rows."""
    args = stage_arguments(argv, __doc__, scores=Path, metrics=Path, plot=Path)
    params = load_section("compare", CompareParams, args.params)
    seed = load_section("seed", Seed, args.params)
    prepare_machine(args.params)
    models = load_rows("models", object, args.params)
    measures = [
        name
        for section in ("measures", "preferences")
        for name in load_rows(section, object, args.params)
    ]
    table = {}
    for measure in measures:
        for model in models:
            path = args.scores / measure / f"{model}.parquet"
            rows = read_table(path, "scores")
            table[measure, model] = item_scores(measure, model, rows, read_about(path))
    summary = summarise(
        table,
        subject=params.subject,
        reference=params.reference,
        against=params.against,
        trained_against=params.trained_against,
        bootstrap=Bootstrap(params.resamples, params.confidence, seed),
    )
    write_json(args.metrics / "comparison.json", summary)
    write_json(args.metrics / "metrics_by_skill.json", by_skill(summary))
    write_bytes_atomic(args.plot, plot_csv(summary).encode())
    write_json(args.metrics / "metrics.json", headline(summary))
    for row in summary["comparisons"]:
        if row["skill"] == "all":
            logger.info(
                "%(measure)s: %(model)s - %(baseline)s = %(difference).3f "
                "[%(low).3f, %(high).3f], %(verdict)s, p = %(p_value).4f, n = %(n_items)d",
                row,
            )
    for mark in summary.get("hacking", ()):
        logger.info("hacking, %(first)s trained against %(trained_against)s: %(mark)s", mark)


if __name__ == "__main__":
    run_stage("compare", main)
