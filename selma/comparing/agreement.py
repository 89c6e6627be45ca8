"""Whether a result depends on who judged: several judges' scores of the same pictures.

Compared are judges, so prompts are the unit here as well: correlations are over prompts, intervals
draw prompts again. Agreement on questions is over all questions of all pictures.
"""

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.comparing.categories import question_scores
from selma.comparing.comparison import (
    ALL_SKILLS,
    Bootstrap,
    ItemScores,
    Record,
    Row,
    check_same_making,
    difference,
    item_scores,
    on_common_items,
)
from selma.comparing.statistics import compare_paired, estimate_mean, standard_error
from selma.comparing.verdicts import BETTER, UNDECIDED, WORSE, add_verdicts
from selma.core.errors import RecordError
from selma.core.seeds import derive_seed

JUDGE_KEYS = ("judge", "revision", "judge_settings", "preprocessing")
DECIMALS = 9  # further ones are rounding
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """One judge's scores of one model's pictures.

    Attributes:
        judge: a name that no other judge of the comparison has.
        scores: one value per prompt.
        pictures: item and sample of each picture.
        questions: per item, sample and question the score; empty if the metric asks none.
    """

    judge: str
    scores: ItemScores
    pictures: frozenset[tuple[str, int]]
    questions: Mapping[tuple[str, int, int], float]


def judged_tables(
    model: str, tables: Sequence[tuple[Sequence[Row], Mapping[str, Any]]]
) -> list[Judged]:
    """Bring several judges' scores of one model's pictures together.

    Args:
        model: whose pictures were scored.
        tables: rows and what the table says about itself, one of each judge.

    Raises:
        MissingDataError: a table is empty.
        RecordError: the tables differ in more than the judge, two have the same judge, or they
            score different pictures.
    """
    _check_one_model(model, [about for _, about in tables])
    names = judge_names([about for _, about in tables])
    found = [
        Judged(
            name,
            item_scores(str(about.get("metric")), model, rows, about),
            frozenset((row["item_id"], row["sample"]) for row in rows),
            {
                (row["item_id"], row["sample"], question_id): score
                for row in rows
                for question_id, _, score in question_scores(row)
            },
        )
        for name, (rows, about) in zip(names, tables, strict=True)
    ]
    for other in found[1:]:
        _check_same_pictures(found[0], other)
    return found


def judge_names(abouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name judges as ``judge@revision``, and by those settings that tell equal names apart.

    Raises:
        RecordError: two are the same judge in all their settings.
    """
    short = [
        "@".join(str(about[key]) for key in ("judge", "revision") if about.get(key))
        for about in abouts
    ]
    settings = [_settings(about) for about in abouts]
    names = []
    for name, own in zip(short, settings, strict=True):
        alike = [s for other, s in zip(short, settings, strict=True) if other == name]
        keys = sorted({*own}.union(*alike))
        odd = [k for k in keys if len({json.dumps(s.get(k), sort_keys=True) for s in alike}) > 1]
        names.append(name + (f" ({', '.join(f'{k}={own.get(k)}' for k in odd)})" if odd else ""))
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise RecordError(f"judges: {twice[0]!r} judged twice; give each judge's scores once")
    return names


def judge_means(judged: Sequence[Judged], bootstrap: Bootstrap) -> list[Record]:
    """Give the mean of each judge's scores with its interval."""
    records = []
    for one in judged:
        scores = one.scores
        names = ("judge", scores.metric, scores.model, one.judge)
        estimate = estimate_mean(
            scores.values,
            scores.weights,
            resamples=bootstrap.resamples,
            confidence=bootstrap.confidence,
            seed=derive_seed(bootstrap.seed, *names),
        )
        records.append(
            {
                "judge": one.judge,
                "metric": scores.metric,
                "unit": scores.unit,
                "model": scores.model,
                "score": estimate.mean,
                "low": estimate.low,
                "high": estimate.high,
                "standard_error": _number(standard_error(scores.values, scores.weights)),
                "n_items": len(scores.item_ids),
                "n_pictures": len(one.pictures),
                "n_questions": len(one.questions),
            }
        )
    return records


def judge_pairs(judged: Sequence[Judged], bootstrap: Bootstrap) -> list[Record]:
    """Say how much each two judges differ and agree on the same pictures.

    Returns:
        Per pair: the paired difference first − second with interval and p-value; Pearson's and
        Spearman's correlation over prompts; share of questions with equal scores and Cohen's kappa.
        None where it is not defined: a judge gives all prompts one score, or asks no questions.
    """
    return [
        _pair(judged[first], judged[second], bootstrap)
        for first in range(len(judged))
        for second in range(first + 1, len(judged))
    ]


def model_differences(
    first: Sequence[Judged], second: Sequence[Judged], bootstrap: Bootstrap
) -> list[Record]:
    """Compare two models under each judge: first − second, with the verdict of that judge alone.

    Args:
        first: one model's pictures under several judges.
        second: another's under the same judges, in any order.
        bootstrap: how intervals are made.

    Raises:
        RecordError: the judges are not the same, or the prompts are not.
    """
    records = []
    for one, other in _by_judge(first, second):
        check_same_making(one.scores, other.scores)
        scores, baseline, _ = on_common_items(one.scores, other.scores)
        record = difference(scores, baseline, ALL_SKILLS, bootstrap)
        records += add_verdicts([{**record, "judge": one.judge}])
    return records


def judge_shifts(
    first: Sequence[Judged], second: Sequence[Judged], bootstrap: Bootstrap
) -> list[Record]:
    """Say for each two judges whether they see a different gain: (A − B) under one − under other.

    This, and not that one verdict is "better" and the other "undecided", tells whether the size of
    the difference depends on the judge.

    Raises:
        RecordError: the judges are not the same, or the prompts are not.
    """
    gains = []
    for mine, theirs in _by_judge(first, second):
        one, baseline, _ = on_common_items(mine.scores, theirs.scores)
        gains.append((mine, one.values - baseline.values))
    records = []
    for index, (judged, gain) in enumerate(gains):
        for other, other_gain in gains[index + 1 :]:
            names = ("judge-shift", judged.scores.metric, judged.judge, other.judge)
            shift = _difference(gain, other_gain, judged.scores.weights, bootstrap, names)
            records.append({"first": judged.judge, "second": other.judge, **shift})
    return records


def conclusion(records: Sequence[Record]) -> str:
    """Say what the judges' verdicts are together.

    Returns:
        "none decides" if all are undecided, "same" if all decide for the same model, "reversed" if
        two contradict each other, else "not all decided".
    """
    verdicts = {record["verdict"] for record in records}
    if verdicts == {UNDECIDED}:
        return "none decides"
    if len(verdicts) == 1:
        return "same"
    return "reversed" if {BETTER, WORSE} <= verdicts else "not all decided"


def cohens_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Give the agreement beyond chance of two raters of the same things.

    Returns:
        None if both give one and the same label throughout: chance alone explains all.
    """
    number = len(first)
    equal = sum(one == other for one, other in zip(first, second, strict=True)) / number
    counts, others = Counter(first), Counter(second)
    chance = sum(counts[label] * others[label] for label in counts) / number**2
    return None if chance == 1 else (equal - chance) / (1 - chance)


def _pair(one: Judged, other: Judged, bootstrap: Bootstrap) -> Record:
    keys = sorted(one.questions)
    labels = [one.questions[key] for key in keys]
    others = [other.questions[key] for key in keys]
    names = ("judges", one.scores.metric, one.scores.model, one.judge, other.judge)
    first, second = one.scores.values, other.scores.values
    return {
        "first": one.judge,
        "second": other.judge,
        **_difference(first, second, one.scores.weights, bootstrap, names),
        "pearson": _correlation(first, second),
        "spearman": _correlation(_ranks(first), _ranks(second)),
        "equal_questions": float(np.mean(np.equal(labels, others))) if keys else None,
        "kappa": cohens_kappa(labels, others) if keys else None,
        "n_questions": len(keys),
    }


def _difference(
    first: Floats, second: Floats, weights: Floats, bootstrap: Bootstrap, names: tuple[str, ...]
) -> Record:
    result = compare_paired(
        first,
        second,
        weights,
        resamples=bootstrap.resamples,
        confidence=bootstrap.confidence,
        seed=derive_seed(bootstrap.seed, *names),
    )
    return {
        "difference": result.estimate.mean,
        "low": result.estimate.low,
        "high": result.estimate.high,
        "p_value": result.p_value,
    }


def _by_judge(first: Sequence[Judged], second: Sequence[Judged]) -> list[tuple[Judged, Judged]]:
    """Pair two models' scores by judge, in the order of the first."""
    others = {_identity(other): other for other in second}
    mine = {_identity(one): one for one in first}
    alone = [
        one.judge for key, one in {**others, **mine}.items() if (key in mine) != (key in others)
    ]
    if alone:
        raise RecordError(
            f"judges: {alone[0]!r} judged only one of the two models; both need the same judges"
        )
    return [(one, others[key]) for key, one in mine.items()]


def _identity(judged: Judged) -> str:
    about = judged.scores.about
    return json.dumps({key: about.get(key) for key in JUDGE_KEYS}, sort_keys=True)


def _settings(about: Mapping[str, Any]) -> dict[str, Any]:
    return {**(about.get("judge_settings") or {}), "preprocessing": about.get("preprocessing")}


def _check_one_model(model: str, abouts: Sequence[Mapping[str, Any]]) -> None:
    """Refuse scores that tell of different models' pictures; those that tell none may be any's."""
    told = sorted({str(a["t2i_model"]) for a in abouts if a.get("t2i_model") is not None})
    if len(told) > 1:
        raise RecordError(
            f"judges: the scores of {model} are of different models' pictures, t2i_model "
            f"{' and '.join(map(repr, told))}; give several judges' scores of one model's pictures"
        )


def _check_same_pictures(first: Judged, second: Judged) -> None:
    check_same_making(first.scores, second.scores, may_differ=JUDGE_KEYS)
    names = f"judges: {first.judge} and {second.judge}"
    alone = sorted(first.pictures ^ second.pictures)
    if alone:
        raise RecordError(
            f"{names}: {len(alone)} pictures are scored by only one of them, first item "
            f"{alone[0][0]!r} sample {alone[0][1]}; have both judge the same pictures"
        )
    lost = sorted(set(first.questions) ^ set(second.questions))
    if lost:
        raise RecordError(
            f"{names}: {len(lost)} questions are answered by only one of them, first item "
            f"{lost[0][0]!r} sample {lost[0][1]} question {lost[0][2]}; use one benchmark"
        )
    on_common_items(first.scores, second.scores)


def _correlation(first: Floats, second: Floats) -> float | None:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Floats) -> Floats:
    """Give ranks from 1; values that are equal up to rounding share the mean of theirs."""
    close = np.round(values, DECIMALS)
    _, inverse, counts = np.unique(close, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
