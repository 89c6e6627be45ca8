"""The results as a Markdown table, and its place in the README."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import MissingDataError, RecordError
from selma.report.numbers import (
    ALL_SKILLS,
    BASELINES,
    Record,
    digits_of,
    find,
    interval,
    metrics_of,
    plain,
    signed,
    title_of,
)

START, END = "<!-- results -->", "<!-- /results -->"
COLUMNS = ("metric", "base", "merged", "mixture", "merged − base", "merged − mixture", "n")
KEYS = {"merged": "{}", "base": "{}_base", "mixture": "{}_mixture"}  # model → key in metrics.json
GAINS = {"base": "{}_gain", "mixture": "{}_over_mixture"}
ROUNDING = 1e-4  # metrics.json keeps four decimals


def results_table(headline: Mapping[str, float], comparisons: Sequence[Record]) -> str:
    """Write one row per metric, over all skills, and a line that says what the numbers are.

    A difference is bold where its interval leaves 0 out.

    Args:
        headline: of metrics/metrics.json.
        comparisons: of metrics/comparison.json.

    Raises:
        RecordError: a number is missing, or the two do not come from one run.
    """
    lines = [_row(COLUMNS), _row(["---"] + ["---:"] * (len(COLUMNS) - 1))]
    for metric in metrics_of(comparisons):
        try:
            lines.append(_row(_cells(metric, headline, comparisons)))
        except KeyError as error:
            raise RecordError(
                f"metrics: {metric} lacks {error}; run `dvc repro compare`"
            ) from error
    return "\n".join([*lines, "", _legend(comparisons)]) + "\n"


def replace_results(text: str, table: str, source: str) -> str:
    """Put a table between the two markers of a text, in place of what stands there.

    Args:
        text: of the file.
        table: ends with a line break.
        source: the file's name, for the message.

    Raises:
        RecordError: there is not exactly one block.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise RecordError(f"{source}: expected one line {START} and, after it, one line {END}")
    before, rest = text.split(START)
    return f"{before}{START}\n{table}{END}{rest.split(END)[1]}"


def table_of(root: Path) -> str:
    """Write the table of a repository's metrics.

    Args:
        root: where metrics/ lies.

    Raises:
        MissingDataError: the metrics are not there.
        RecordError: they are not what `compare` writes.
    """
    headline = _read(root / "metrics/metrics.json")
    comparison = _read(root / "metrics/comparison.json")
    if not isinstance(comparison, dict) or not comparison.get("comparisons"):
        raise RecordError(
            f"{root / 'metrics/comparison.json'}: no comparisons; run `dvc repro compare`"
        )
    return results_table(headline, comparison["comparisons"])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file; run `dvc repro`") from error
    except ValueError as error:
        raise RecordError(f"{path}: not valid JSON ({error}); run `dvc repro compare`") from error


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(
    metric: str, headline: Mapping[str, float], comparisons: Sequence[Record]
) -> Sequence[str]:
    records = {
        baseline: find(comparisons, metric=metric, baseline=baseline, skill=ALL_SKILLS)
        for baseline in BASELINES
    }
    for baseline, record in records.items():
        headline_gain = headline[GAINS[baseline].format(metric)]
        if abs(headline_gain - record["difference"]) > ROUNDING:
            raise RecordError(
                f"metrics: {metric}, merged − {baseline}: metrics.json says {headline_gain}, "
                f"comparison.json {record['difference']}; run `dvc repro compare`"
            )
    first = records["base"]
    digits = digits_of(first)
    values = {model: plain(headline[key.format(metric)], digits) for model, key in KEYS.items()}
    name = title_of(metric) + (", %" if first["unit"] == "percent" else "")
    differences = [_difference(records[baseline]) for baseline in BASELINES]
    count = f"{first['n_items']} × {first['n_samples']}"
    return [name, values["base"], values["merged"], values["mixture"], *differences, count]


def _difference(record: Record) -> str:
    value = signed(record["difference"], digits_of(record))
    clear = record["low"] > 0 or record["high"] < 0
    return f"{f'**{value}**' if clear else value} ({interval(record)})"


def _legend(comparisons: Sequence[Record]) -> str:
    """Say what the numbers are; the same for all metrics, or told for each."""
    first = comparisons[0]
    judges = {r["metric"]: r["judge"] for r in comparisons if r["unit"] == "percent"}
    policies = {r["metric"]: r["policy"] for r in comparisons if r["unit"] == "percent"}
    answered = "; ".join(
        f"{title_of(metric)}: judge {judge}, {policies[metric]}" for metric, judge in judges.items()
    )
    return (
        f"n: prompts × pictures of each. In brackets: {100 * first['confidence']:g} % interval, "
        f"paired bootstrap over prompts, {first['resamples']:,} resamples; bold where it leaves 0 "
        f"out. {answered}."
    )
