"""What the compare stage writes: all scores and comparisons, and the numbers looked at first."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from selma.comparing.categories import split
from selma.comparing.comparison import (
    Record,
    compare_parts,
    judge_together,
    summarise_model,
)
from selma.comparing.hacking import TrainedAgainst, hacking_mark
from selma.comparing.items import ALL_SKILLS, ItemScores
from selma.comparing.statistics import Bootstrap
from selma.core.choices import choose
from selma.core.errors import ConfigError, RecordError

DIGITS = 6  # of the numbers in metrics/comparison.json
HEADLINE_DIGITS = 4

Table = Mapping[tuple[str, str], ItemScores]  # (measure, model) → scores, in the order of the rows
Summary = Mapping[str, Any]


def summarise(
    table: Table,
    *,
    subject: str,
    reference: str,
    against: Sequence[str],
    trained_against: TrainedAgainst,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Score every model and compare the pairs that matter, by measure and skill.

    Compared are the subject, which the run is about, with the reference, from which gains are
    measured, and with each rival in `against`; and every other model with the reference, which may
    be the subject. Each pair on each measure is a family of its own for Holm's adjustment.

    Models that were trained or selected against measures are watched, see `hacking_mark`: their
    differences to the reference, on all measures, are one more family.

    Returns what metrics/comparison.json holds, fractions rounded to `DIGITS`; `hacking` only if a
    model is watched.

    Raises:
        ConfigError: a name is no model of the table.
        RecordError: two models were not scored on the same pictures' prompts in the same way.
    """
    measures = list(dict.fromkeys(measure for measure, _ in table))
    models = list(dict.fromkeys(model for _, model in table))
    for name in (subject, reference, *against):
        choose("model to compare", name, dict.fromkeys(models))
    scores = [
        summarise_model(table[key], skill, bootstrap)
        for key in itertools.product(measures, models)
        for skill in (ALL_SKILLS, *table[key].skills)
    ]
    comparisons = [
        record
        for measure in measures
        for model, baseline in _pairs(models, subject, reference, against)
        for record in _compared(table[measure, model], table[measure, baseline], bootstrap)
    ]
    summary: dict[str, Any] = {
        "subject": subject,
        "reference": reference,
        "against": list(against),
        "models": models,
        "measures": [_described(table[measure, subject]) for measure in measures],
        "scores": [_rounded(record) for record in scores],
        "comparisons": [_rounded(record) for record in comparisons],
    }
    marks = _hacking_marks(comparisons, reference, trained_against)
    return summary | ({"hacking": marks} if marks else {})


def headline(summary: Summary) -> dict[str, float]:
    """List flat metrics over all skills for `dvc metrics`.

    ``dsg`` is the subject's value on the measure of that name, ``dsg_MODEL`` another model's;
    ``dsg_gain`` is subject − reference, ``dsg_over_RIVAL`` subject − rival, and ``dsg_MODEL_gain``
    another model − reference.

    Raises:
        ConfigError: two numbers would have one name.
    """
    subject, reference = summary["subject"], summary["reference"]
    named = []
    for row in _over_all(summary["scores"]):
        other = "" if row["model"] == subject else f"_{row['model']}"
        named.append((row["measure"] + other, row["score"]))
    for row in _over_all(summary["comparisons"]):
        if row["model"] != subject:
            name = f"{row['model']}_gain"
        else:
            name = "gain" if row["baseline"] == reference else f"over_{row['baseline']}"
        named.append((f"{row['measure']}_{name}", row["difference"]))
    flat = {name: round(value, HEADLINE_DIGITS) + 0.0 for name, value in named}  # no -0.0
    if len(flat) < len(named):
        names = [name for name, _ in named]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"metrics: two numbers are called {twice!r}; rename a model or a measure")
    return flat


def by_skill(summary: Summary) -> dict[str, dict[str, float]]:
    """List the subject's values as measure → skill → value; empty for one without skills."""
    found: dict[str, dict[str, float]] = {one["name"]: {} for one in summary["measures"]}
    for row in summary["scores"]:
        if row["model"] == summary["subject"] and row["skill"] != ALL_SKILLS:
            found[row["measure"]][row["skill"]] = round(row["score"], HEADLINE_DIGITS)
    return found


def plot_csv(summary: Summary) -> str:
    """Write the scores as CSV, for `dvc plots`."""
    columns = ["measure", "model", "skill", "score", "low", "high"]
    table = pd.DataFrame(summary["scores"], columns=columns)
    return str(table.to_csv(index=False, float_format=f"%.{HEADLINE_DIGITS}f", lineterminator="\n"))


def _pairs(
    models: Sequence[str], subject: str, reference: str, against: Sequence[str]
) -> list[tuple[str, str]]:
    pairs = [(subject, other) for other in (reference, *against)]
    pairs += [(model, reference) for model in models if model != subject]
    return [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]


def _compared(first: ItemScores, second: ItemScores, bootstrap: Bootstrap) -> list[Record]:
    records = compare_parts(split(first), split(second), bootstrap)
    if not first.items["pictures"].equals(second.items["pictures"]):
        raise RecordError(
            f"{first.measure}: {first.model} and {second.model} have different numbers of pictures;"
            " score as many of both"
        )
    return records


def _hacking_marks(
    comparisons: Sequence[Record], reference: str, trained_against: TrainedAgainst
) -> list[Record]:
    watched = [
        record
        for record in _over_all(comparisons)
        if record["model"] in trained_against and record["baseline"] == reference
    ]
    judged = judge_together(watched)
    marks = []
    for model in dict.fromkeys(record["model"] for record in judged):
        own = {record["measure"]: record for record in judged if record["model"] == model}
        mark = hacking_mark(own, trained_against[model], trained_against.get(reference, ()))
        differences = {measure: _rounded(record) for measure, record in own.items()}
        marks.append(
            {"first": model, "second": reference, **mark, "family": len(judged)}
            | {"differences": differences}
        )
    return marks


def _described(scores: ItemScores) -> Record:
    return {
        "name": scores.measure,
        "title": scores.about.get("title", scores.measure),
        "benchmark": scores.about.get("benchmark", ""),
        **scores.made_by,
    }


def _over_all(records: Sequence[Record]) -> Iterator[Record]:
    return (record for record in records if record["skill"] == ALL_SKILLS)


def _rounded(record: Record) -> Record:
    return {k: round(v, DIGITS) if isinstance(v, float) else v for k, v in record.items()}
