"""The results as a Markdown table, and its place in the README."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from selma.core.errors import MissingDataError, RecordError
from selma.report.numbers import RERUN, Record, Results, digits_of, interval, plain, signed

START, END = "<!-- results -->", "<!-- /results -->"
METRICS, COMPARISON = "metrics/metrics.json", "metrics/comparison.json"
ROUNDING = 1e-4  # metrics.json keeps four decimals


def results_table(headline: Mapping[str, float], comparison: Mapping[str, Any]) -> str:
    """Write one row per measure, over all skills, and a line that says what the numbers are.

    A difference is bold where its verdict is better or worse.

    Args:
        headline: of metrics/metrics.json.
        comparison: of metrics/comparison.json.

    Raises:
        RecordError: a number is missing, or the two do not come from one run.
    """
    import pandas as pd

    results = Results(comparison)
    table = pd.DataFrame([_row(results, measure, headline) for measure in results.measures])
    sides = ["left"] + ["right"] * (len(table.columns) - 1)
    text = table.to_markdown(index=False, colalign=sides, disable_numparse=True)
    return f"{text}\n\n{_legend(results)}\n"


def _row(results: Results, measure: str, headline: Mapping[str, float]) -> dict[str, str]:
    about, subject = results.measures[measure], results.subject
    digits = digits_of(about["unit"])
    row = {"metric": about["title"] + (", %" if about["unit"] == "percent" else "")}
    for model in results.models:
        score = results.score(measure, model)["score"]
        key = measure if model == subject else f"{measure}_{model}"
        _same_run(headline, key, score)
        row[model] = plain(score, digits)
    for _, baseline in results.pairs:
        record = results.difference(measure, (subject, baseline))
        gain = baseline == results.reference
        _same_run(
            headline, f"{measure}_gain" if gain else f"{measure}_over_{baseline}",
            record["difference"],
        )  # fmt: skip
        row[f"{subject} − {baseline}"] = _difference(record)
    score = results.score(measure, subject)
    return row | {"n": f"{score['n_items']} × {score['n_samples']}"}


def _same_run(headline: Mapping[str, float], key: str, value: float) -> None:
    if key not in headline:
        raise RecordError(f"{METRICS}: lacks {key!r}; {RERUN}")
    if abs(headline[key] - value) > ROUNDING:
        raise RecordError(
            f"{METRICS} says {headline[key]} for {key}, {COMPARISON} {value}; {RERUN}"
        )


def _difference(record: Record) -> str:
    value = signed(record["difference"], digits_of(record["unit"]))
    bold = f"**{value}**" if record["verdict"] in ("better", "worse") else value
    return f"{bold} ({interval(record)})"


def _legend(results: Results) -> str:
    parts = ["n: prompts × pictures of each."]
    if results.pairs:
        first = results.difference(next(iter(results.measures)), results.pairs[0])
        level = f"{100 * first['confidence']:.4g} %"
        parts.append(
            f"In brackets: {level} interval, paired bootstrap over prompts, "
            f"{first['resamples']:,} resamples; bold where the verdict is better or worse."
        )
    answered = [
        f"{about['title']}: judge {about['judge']}, {about['policy']}"
        for about in results.measures.values()
        if about["unit"] == "percent"
    ]
    return " ".join([*parts, *([f"{'; '.join(answered)}."] if answered else [])])


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


def _read_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def table_of(read: Callable[[str], str] = _read_text) -> str:
    """Write the table of a repository's metrics.

    Args:
        read: path in the repository → the file's text; by default that of the current folder.

    Raises:
        MissingDataError: the metrics are not there.
        RecordError: they are not what `compare` writes.
    """
    path = METRICS
    try:
        headline = json.loads(read(path))
        path = COMPARISON
        return results_table(headline, json.loads(read(path)))
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file; run `dvc repro`") from error
    except ValueError as error:
        raise RecordError(f"{path}: not valid JSON ({error}); {RERUN}") from error
