"""Compares the models' scores on the same prompts and writes the headline numbers."""

import argparse
import logging
from pathlib import Path

from selma.comparing import summary
from selma.comparing.comparison import ALL_SKILLS, METRICS, Bootstrap, item_scores
from selma.core.files import write_bytes_atomic, write_json
from selma.core.tables import read_about, read_table
from selma.runtime.params import PARAMS_PATH, CompareParams, load_section, load_value
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Read all scores of all models; write metrics/*.json and plots/scores.csv."""
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("compare", CompareParams, args.params)
    bootstrap = Bootstrap(params.resamples, params.confidence, load_value("seed", args.params))
    table = {}
    for metric, about in METRICS.items():
        benchmark = read_table(Path("data/benchmarks") / f"{about.benchmark}.parquet", "benchmark")
        for model in summary.MODELS:
            path = Path("data/scores") / metric / f"{model}.parquet"
            rows, made = read_table(path, "scores"), read_about(path)
            table[metric, model] = item_scores(metric, model, rows, made, benchmark)
    scores = summary.summarise(table, bootstrap)
    comparisons = summary.compare(table, bootstrap)
    write_json(Path("metrics/comparison.json"), {"comparisons": comparisons, "scores": scores})
    write_json(Path("metrics/metrics_by_skill.json"), summary.by_skill(scores))
    write_bytes_atomic(Path("plots/scores.csv"), summary.plot_csv(scores).encode())
    write_json(Path("metrics/metrics.json"), summary.headline(scores, comparisons))
    for row in comparisons:
        if row["skill"] == ALL_SKILLS:
            logger.info(
                "%(metric)s: %(model)s - %(baseline)s = %(difference).3f "
                "[%(low).3f, %(high).3f], p = %(p_value).4f, n = %(n_items)d",
                row,
            )


if __name__ == "__main__":
    run_stage("compare", main)
