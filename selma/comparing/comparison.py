"""Score tables of several models brought to one value per prompt, and compared."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.comparing.statistics import compare_paired, estimate_mean, standard_error
from selma.core.errors import MissingDataError, RecordError
from selma.core.seeds import derive_seed

Row = Mapping[str, Any]
Record = dict[str, Any]
ALL_SKILLS = "all"
DIGITS = 6  # of the numbers in metrics/comparison.json
MADE_BY = (
    "metric", "version", "policy", "unit", "judge", "revision", "judge_settings", "preprocessing",
    "benchmark",
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """How a metric's scores are shown.

    Attributes:
        unit: of the numbers people see.
        factor: from the scores table's values to that unit.
        benchmark: whose prompts are scored.
        asks_questions: an item without questions has no score.
    """

    unit: str
    factor: float
    benchmark: str
    asks_questions: bool


METRICS: dict[str, Metric] = {
    "dsg": Metric("percent", 100.0, "pocket-dsg", True),
    "tifa": Metric("percent", 100.0, "pocket-tifa", True),
    "pickscore": Metric("exp(logit_scale) * cosine", 1.0, "pocket-dsg", False),
    "imagereward": Metric("standard deviations", 1.0, "pocket-dsg", False),
    "hps": Metric("100 * cosine", 1.0, "pocket-dsg", False),
}


@dataclass(frozen=True)
class ItemScores:
    """One model's score on each prompt.

    Attributes:
        metric: what was measured, e.g. a key of `METRICS`.
        model: e.g. "merged".
        item_ids: (N,) sorted.
        skills: (N,) each item's skill.
        values: (N,) mean over the item's pictures, in the metric's unit.
        weights: (N,) each item's weight in a mean.
        pictures: (N,) number of the item's pictures.
        about: what the scores table says about itself: judge, policy, version, libraries, …
    """

    metric: str
    model: str
    item_ids: tuple[str, ...]
    skills: tuple[str, ...]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    pictures: tuple[int, ...]
    about: Mapping[str, Any]

    @property
    def n_samples(self) -> float:
        """Pictures per item: an integer, or their mean where items differ."""
        same = len(set(self.pictures)) == 1
        return self.pictures[0] if same else sum(self.pictures) / len(self.pictures)

    @property
    def factor(self) -> float:
        """From the scores table's values to the unit."""
        return METRICS[self.metric].factor if self.metric in METRICS else 1.0

    @property
    def unit(self) -> str:
        """The unit of the values."""
        known = METRICS.get(self.metric)
        return known.unit if known else str(self.about["unit"])

    @property
    def mean(self) -> float:
        """The weighted mean over the items."""
        return float(np.average(self.values, weights=self.weights))

    def of_skill(self, skill: str) -> "ItemScores":
        """Keep one skill's items, or all for `ALL_SKILLS`."""
        if skill == ALL_SKILLS:
            return self
        items = zip(self.item_ids, self.skills, strict=True)
        return self.of_items({item_id for item_id, name in items if name == skill})

    def of_items(self, item_ids: Collection[str]) -> "ItemScores":
        """Keep some items."""
        kept = [index for index, item_id in enumerate(self.item_ids) if item_id in item_ids]
        return replace(
            self,
            item_ids=tuple(self.item_ids[index] for index in kept),
            skills=tuple(self.skills[index] for index in kept),
            values=self.values[kept],
            weights=self.weights[kept],
            pictures=tuple(self.pictures[index] for index in kept),
        )


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: number of resamples, coverage, and the run's seed."""

    resamples: int
    confidence: float
    seed: int


def item_scores(
    metric: str,
    model: str,
    rows: Sequence[Row],
    about: Mapping[str, Any],
    benchmark: Sequence[Row] | None = None,
) -> ItemScores:
    """Bring a scores table to one value per prompt; a row's source is its skill.

    A prompt counts by its weight alone, however many pictures it has.

    Args:
        metric: what was measured; `METRICS` tells how to show it, others are shown as they are.
        model: whose pictures were scored.
        rows: of the scores table, in any order.
        about: what the scores table says about itself.
        benchmark: rows of the benchmark table; if given, each of its items must have a score for
            each of its pictures.

    Raises:
        MissingDataError: there are no scores, or an item lacks one that others have.
        RecordError: the table is about another metric, an item is not to be scored, or its rows
            disagree on its source or weight.
    """
    where = f"scores of {metric} for {model}"
    _check_table(where, metric, rows, about)
    by_item: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (str(row["item_id"]), int(row["sample"]))):
        by_item.setdefault(row["item_id"], []).append(row)
    if benchmark is not None:
        asks = metric in METRICS and METRICS[metric].asks_questions
        _check_items(
            where, by_item, {i["item_id"] for i in benchmark if i["questions"] or not asks}
        )
    traits = {
        item_id: {(r["source"], r["weight"]) for r in by_item[item_id]} for item_id in by_item
    }
    odd = [item_id for item_id, found in traits.items() if len(found) > 1]
    if odd:
        raise RecordError(
            f"{where}: item {odd[0]!r} has several sources or weights; score it again"
        )
    source_weight = [traits[item_id].pop() for item_id in by_item]
    factor = METRICS[metric].factor if metric in METRICS else 1.0
    return ItemScores(
        metric,
        model,
        tuple(by_item),
        tuple(source for source, _ in source_weight),
        np.array([factor * np.mean([r["score"] for r in found]) for found in by_item.values()]),
        np.array([float(weight) for _, weight in source_weight]),
        tuple(len(found) for found in by_item.values()),
        about,
    )


def compare_models(
    first: ItemScores, second: ItemScores, skill: str, bootstrap: Bootstrap
) -> Record:
    """Compare two models on one skill's prompts, or on `ALL_SKILLS`: first − second.

    Returns:
        A record, rounded: what was compared, on how many prompts and pictures, with what result.

    Raises:
        RecordError: the models were not scored on the same prompts in the same way.
    """
    one, other = checked_pair(first, second)
    return rounded(difference(one.of_skill(skill), other.of_skill(skill), skill, bootstrap))


def checked_pair(first: ItemScores, second: ItemScores) -> tuple[ItemScores, ItemScores]:
    """Give both if they were scored on the same prompts and as many pictures in the same way.

    Raises:
        RecordError: they were not.
    """
    check_same_making(first, second)
    one, other, _ = on_common_items(first, second)
    if one.pictures != other.pictures:
        raise RecordError(
            f"{first.metric}: {first.model} and {second.model} have different numbers of pictures; "
            "score as many of both"
        )
    return one, other


def difference(
    first: ItemScores, second: ItemScores, skill: str, bootstrap: Bootstrap, margin: float = 0.0
) -> Record:
    """Compare the values of the same prompts: first − second.

    The random numbers come from seed, metric, names of the models and skill.

    Args:
        first: of one skill, or of all.
        second: of the same items in the same order.
        skill: its name, or `ALL_SKILLS`.
        bootstrap: how the interval is made.
        margin: the p-value is for a difference beyond this, in the metric's unit.

    Returns:
        A record as of `compare_models`, unrounded.
    """
    result = compare_paired(
        first.values,
        second.values,
        first.weights,
        resamples=bootstrap.resamples,
        confidence=bootstrap.confidence,
        seed=derive_seed(bootstrap.seed, "compare", first.metric, first.model, second.model, skill),
        margin=margin,
    )
    return {
        **_shown(first),
        "metric": first.metric,
        "model": first.model,
        "baseline": second.model,
        "skill": skill,
        "difference": result.estimate.mean,
        "low": result.estimate.low,
        "high": result.estimate.high,
        "standard_error": None if math.isnan(result.standard_error) else result.standard_error,
        "confidence": bootstrap.confidence,
        "resamples": bootstrap.resamples,
        "margin": margin,
        "p_value": result.p_value,
        "wins": result.wins,
        "ties": result.ties,
        "losses": result.losses,
        "n_items": len(first.item_ids),
        "n_samples": first.n_samples,
    }


def summarise_model(scores: ItemScores, skill: str, bootstrap: Bootstrap) -> Record:
    """Give one model's mean on one skill's prompts, or on `ALL_SKILLS`, with its interval."""
    kept = scores.of_skill(skill)
    estimate = estimate_mean(
        kept.values,
        kept.weights,
        resamples=bootstrap.resamples,
        confidence=bootstrap.confidence,
        seed=derive_seed(bootstrap.seed, "score", scores.metric, scores.model, skill),
    )
    error = standard_error(kept.values, kept.weights)
    return rounded(
        {
            **_shown(scores),
            "metric": scores.metric,
            "model": scores.model,
            "skill": skill,
            "score": estimate.mean,
            "low": estimate.low,
            "high": estimate.high,
            "standard_error": None if math.isnan(error) else error,
            "confidence": bootstrap.confidence,
            "n_items": len(kept.item_ids),
            "n_samples": kept.n_samples,
        }
    )


def rounded(record: Record) -> Record:
    """Round a record's fractions to `DIGITS`."""
    return {k: round(v, DIGITS) if isinstance(v, float) else v for k, v in record.items()}


def check_same_making(
    first: ItemScores, second: ItemScores, may_differ: Collection[str] = ()
) -> None:
    """Refuse scores that differ in more than whose pictures were scored.

    Benchmarks are told apart by their content, `benchmark_sha256`, if both tell it, else by name.

    Args:
        first: of one model.
        second: of another.
        may_differ: keys of `MADE_BY` that need not be the same.

    Raises:
        RecordError: the message says in what they differ.
    """
    by_content = all(scores.about.get("benchmark_sha256") for scores in (first, second))
    keys = [
        "benchmark_sha256" if key == "benchmark" and by_content else key
        for key in MADE_BY
        if key not in may_differ
    ]
    odd = [
        f"{key} is {_told(first.about, key)} and {_told(second.about, key)}"
        for key in keys
        if first.about.get(key) != second.about.get(key)
    ]
    if odd:
        raise RecordError(
            f"{first.metric}: {first.model} and {second.model} cannot be compared: "
            f"{'; '.join(odd)}; score both in the same way"
        )


def on_common_items(
    first: ItemScores, second: ItemScores, *, allow_partial: bool = False
) -> tuple[ItemScores, ItemScores, tuple[str, ...]]:
    """Keep the items that both have.

    Returns:
        Both, and the items that only one of them has.

    Raises:
        MissingDataError: there is no common item.
        RecordError: an item is in only one of them and `allow_partial` is off, or has two
            sources or weights.
    """
    names = f"{first.metric}: {first.model} and {second.model}"
    common = set(first.item_ids) & set(second.item_ids)
    alone = tuple(sorted({*first.item_ids, *second.item_ids} - common))
    if alone and not allow_partial:
        shown = ", ".join(map(repr, alone[:3])) + (", …" if len(alone) > 3 else "")
        raise RecordError(
            f"{names} cannot be compared: {len(alone)} items are in only one of them, {shown}; "
            "score both on the same prompts, or allow a partial comparison"
        )
    if not common:
        raise MissingDataError(f"{names} have no item in common; score both on the same prompts")
    one, other = first.of_items(common), second.of_items(common)
    if one.skills != other.skills:
        raise RecordError(
            f"{names} cannot be compared: their items have different sources; score both on one "
            "benchmark"
        )
    differ = np.flatnonzero(one.weights != other.weights)
    if len(differ):
        raise RecordError(
            f"{names} cannot be compared: item {one.item_ids[differ[0]]!r} weighs "
            f"{one.weights[differ[0]]:g} and {other.weights[differ[0]]:g}; "
            "score both on the same questions"
        )
    return one, other, alone


def _shown(scores: ItemScores) -> Record:
    about = scores.about
    judge = f"{about['judge']}@{about['revision']}" if about.get("revision") else about["judge"]
    shown = {"judge": judge, "policy": about["policy"], "version": about["version"]}
    return shown | {"unit": scores.unit}


def _told(about: Mapping[str, Any], key: str) -> str:
    text = (
        json.dumps(about[key], sort_keys=True, ensure_ascii=False) if key in about else "not told"
    )
    return text if len(text) <= 300 else f"{text[:300]}…"


def _check_table(where: str, metric: str, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    if not rows:
        raise MissingDataError(f"{where}: there are none; run `dvc repro {metric}`")
    lost = [key for key in ("metric", "version", "policy", "judge", "unit") if key not in about]
    if lost:
        raise RecordError(f"{where}: the table does not tell its {', '.join(lost)}; score it again")
    if about["metric"] != metric:
        raise RecordError(f"{where}: the table holds scores of {about['metric']!r}")


def _check_items(where: str, by_item: Mapping[str, Sequence[Row]], wanted: set[str]) -> None:
    samples = sorted({row["sample"] for found in by_item.values() for row in found})
    lost = sorted(wanted - set(by_item))
    lost += sorted(
        item_id for item_id, found in by_item.items() if [r["sample"] for r in found] != samples
    )
    if lost:
        raise MissingDataError(
            f"{where}: {len(lost)} of {len(wanted)} items lack a score, first {lost[0]!r}; "
            "run `dvc repro`"
        )
    extra = sorted(set(by_item) - wanted)
    if extra:
        raise RecordError(f"{where}: item {extra[0]!r} is not to be scored; run `dvc repro`")
