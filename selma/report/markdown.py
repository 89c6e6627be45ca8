"""The results as a Markdown table."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from selma.core.errors import ConfigError, RecordError
from selma.core.files import read_json
from selma.report.hacking import TRAINED_LEGEND, alarm_sign, hacking_sentences
from selma.report.numbers import RERUN, Results, digits_of, interval, plain, signed

METRICS, COMPARISON = "metrics/metrics.json", "metrics/comparison.json"
ROUNDING = 1e-4  # metrics.json keeps four decimals


def results_table(headline: Mapping[str, float], comparison: Mapping[str, Any]) -> str:
    """Write one row per measure, over all skills, and a line that says what the numbers are.

    A difference is bold where its verdict is better or worse. RecordError if a number is missing,
    or metrics.json and comparison.json do not come from one run.
    """
    import pandas as pd

    results = Results(comparison)
    table = pd.DataFrame([_row(results, measure, headline) for measure in results.measures])
    return f"{_markdown(table)}\n\n{_legend(results)}\n{_hacking(results, results.models)}"


def model_table(headline: Mapping[str, float], comparison: Mapping[str, Any], model: str) -> str:
    """Write one row per measure of what is known of one model: no other model's score is shown.

    That is its score and, where they were compared, its difference to the reference. RecordError as
    `results_table`.
    """
    import pandas as pd

    results = Results(comparison)
    pair = (model, results.reference)
    compared = pair in (*results.pairs, *results.other_pairs)
    rows = []
    for measure, about in results.measures.items():
        score = results.score(measure, model)
        key = measure if model == results.subject else f"{measure}_{model}"
        _same_run(headline, key, score["score"])
        digits = digits_of(about["unit"])
        ends = f"{plain(score['low'], digits)} to {plain(score['high'], digits)}"
        value = f"{plain(score['score'], digits)}{results.sign(measure, model)} ({ends})"
        row = {"metric": _title(about), f"{model}{alarm_sign(results.hacking, model)}": value}
        if compared:
            row[f"{model} − {results.reference}"] = _difference(results, measure, pair)
        rows.append(row | {"n": f"{score['n_items']} × {score['n_samples']}"})
    first = results.score(next(iter(results.measures)), model)
    words = f"In brackets: {100 * first['confidence']:.4g} % intervals, over prompts"
    words += "; bold where the verdict is better or worse." if compared else "."
    parts = ["n: prompts × pictures of each.", words, *_judges(results)]
    below = f"{' '.join(parts)}\n{_hacking(results, [model])}"
    return f"{_markdown(pd.DataFrame(rows))}\n\n{below}"


def _markdown(table: Any) -> str:
    sides = ["left"] + ["right"] * (len(table.columns) - 1)
    return str(table.to_markdown(index=False, colalign=sides, disable_numparse=True))


def _title(about: Mapping[str, Any]) -> str:
    return str(about["title"]) + (", %" if about["unit"] == "percent" else "")


def _difference(results: Results, measure: str, pair: tuple[str, str]) -> str:
    record = results.difference(measure, pair)
    value = signed(record["difference"], digits_of(record["unit"]))
    bold = f"**{value}**" if record["verdict"] in ("better", "worse") else value
    return f"{bold}{results.sign(measure, pair[0])} ({interval(record)})"


def _hacking(results: Results, models: Sequence[str]) -> str:
    """Write the marks of models that were trained against a measure, as a list after the table."""
    marks = [mark for mark in results.hacking if mark["first"] in models]
    if not marks:
        return ""
    sentences = "\n".join(f"- {text}" for _, text in hacking_sentences(marks, results.measures))
    return f"\n{TRAINED_LEGEND}\n\n{sentences}\n"


def _row(results: Results, measure: str, headline: Mapping[str, float]) -> dict[str, str]:
    about, subject = results.measures[measure], results.subject
    digits = digits_of(about["unit"])
    row = {"metric": _title(about)}
    for model in results.models:
        score = results.score(measure, model)["score"]
        key = measure if model == subject else f"{measure}_{model}"
        _same_run(headline, key, score)
        shown = f"{plain(score, digits)}{results.sign(measure, model)}"
        row[f"{model}{alarm_sign(results.hacking, model)}"] = shown
    for _, baseline in results.pairs:
        record = results.difference(measure, (subject, baseline))
        key = "gain" if baseline == results.reference else f"over_{baseline}"
        _same_run(headline, f"{measure}_{key}", record["difference"])
        row[f"{subject} − {baseline}"] = _difference(results, measure, (subject, baseline))
    score = results.score(measure, subject)
    return row | {"n": f"{score['n_items']} × {score['n_samples']}"}


def _same_run(headline: Mapping[str, float], key: str, value: float) -> None:
    if key not in headline:
        raise RecordError(f"{METRICS}: lacks {key!r}; {RERUN}")
    if abs(headline[key] - value) > ROUNDING:
        raise RecordError(
            f"{METRICS} says {headline[key]} for {key}, {COMPARISON} {value}; {RERUN}"
        )


def _legend(results: Results) -> str:
    parts = ["n: prompts × pictures of each."]
    if results.pairs:
        first = results.difference(next(iter(results.measures)), results.pairs[0])
        level = f"{100 * first['confidence']:.4g} %"
        parts.append(
            f"In brackets: {level} interval, paired bootstrap over prompts, "
            f"{first['resamples']:,} resamples; bold where the verdict is better or worse."
        )
    return " ".join([*parts, *_judges(results)])


def _judges(results: Results) -> list[str]:
    answered = [
        f"{about['title']}: judge {about['judge']}, {about['policy']}"
        for about in results.measures.values()
        if about["unit"] == "percent"
    ]
    return [f"{'; '.join(answered)}."] if answered else []


def table_of() -> str:
    """Write the table of the metrics in the current folder; raises as `read_json` and Results."""
    return results_table(read_json(Path(METRICS)), read_json(Path(COMPARISON)))


def table_of_model(model: str) -> str:
    """Write what the metrics in the current folder say of a model; of the subject, the whole table.

    ConfigError if it was not compared; raises as `table_of`.
    """
    comparison = read_json(Path(COMPARISON))
    results = Results(comparison)
    if model not in results.models:
        raise ConfigError(
            f"{model} was not compared, so there are no numbers to publish; {COMPARISON} has "
            f"{', '.join(results.models)}: name one of them, or {RERUN}"
        )
    table = results_table if model == results.subject else partial(model_table, model=model)
    return table(read_json(Path(METRICS)), comparison)
