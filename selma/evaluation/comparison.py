"""Score tables of several models brought to one value per prompt, and compared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.errors import MissingDataError, RecordError
from selma.evaluation.statistics import compare_paired, estimate_mean
from selma.seeds import derive_seed

Row = Mapping[str, Any]
ALL_SKILLS = "all"


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
        metric: a key of `METRICS`.
        model: e.g. "merged".
        item_ids: (N,) sorted.
        skills: (N,) each item's skill.
        values: (N,) mean over the item's pictures, in the metric's unit.
        weights: (N,) each item's weight in a mean.
        n_samples: pictures per item.
        about: judge, policy, unit, version: what the number is.
    """

    metric: str
    model: str
    item_ids: tuple[str, ...]
    skills: tuple[str, ...]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    n_samples: int
    about: Mapping[str, str]

    def of_skill(self, skill: str) -> "ItemScores":
        """Keep one skill's items, or all for `ALL_SKILLS`."""
        if skill == ALL_SKILLS:
            return self
        kept = [index for index, name in enumerate(self.skills) if name == skill]
        return replace(
            self,
            item_ids=tuple(self.item_ids[index] for index in kept),
            skills=(skill,) * len(kept),
            values=self.values[kept],
            weights=self.weights[kept],
        )


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: number of resamples, coverage, and the run's seed."""

    resamples: int
    confidence: float
    seed: int


def item_scores(
    metric: str, model: str, rows: Sequence[Row], benchmark: Sequence[Row]
) -> ItemScores:
    """Bring a scores table to one value per prompt.

    Args:
        metric: a key of `METRICS`.
        model: whose pictures were scored.
        rows: of the scores table, in any order.
        benchmark: rows of the benchmark table; an item's source is its skill.

    Raises:
        MissingDataError: an item lacks a score that others have.
        RecordError: a score belongs to no item, or rows were scored in different ways.
    """
    where = f"scores of {metric} for {model}"
    if not rows:
        raise MissingDataError(f"{where}: there are none; run `dvc repro {metric}`")
    skill_of = {row["item_id"]: row["source"] for row in benchmark}
    by_item: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_item.setdefault(row["item_id"], {})[row["sample"]] = row
    samples = sorted({row["sample"] for row in rows})
    asks = METRICS[metric].asks_questions
    wanted = {row["item_id"] for row in benchmark if row["questions"] or not asks}
    _check_items(where, by_item, wanted, samples)
    details = {item_id: json.loads(by_item[item_id][samples[0]]["details"]) for item_id in by_item}
    item_ids = sorted(by_item)
    factor = METRICS[metric].factor
    return ItemScores(
        metric,
        model,
        tuple(item_ids),
        tuple(skill_of[item_id] for item_id in item_ids),
        np.array([factor * np.mean([by_item[i][s]["score"] for s in samples]) for i in item_ids]),
        np.array([float(details[item_id]["weight"]) for item_id in item_ids]),
        len(samples),
        _about(where, rows) | {"unit": METRICS[metric].unit},
    )


def compare_models(
    first: ItemScores, second: ItemScores, skill: str, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Compare two models on one skill's prompts, or on `ALL_SKILLS`: first − second.

    Returns:
        A record: what was compared, on how many prompts and pictures, with what result.

    Raises:
        RecordError: the models were not scored on the same prompts in the same way.
    """
    _check_same(first, second)
    one, other = first.of_skill(skill), second.of_skill(skill)
    names = (first.metric, first.model, second.model, skill)
    result = compare_paired(
        one.values,
        other.values,
        one.weights,
        resamples=bootstrap.resamples,
        confidence=bootstrap.confidence,
        seed=derive_seed(bootstrap.seed, "compare", *names),
    )
    return {
        **first.about,
        "metric": first.metric,
        "model": first.model,
        "baseline": second.model,
        "skill": skill,
        "difference": round(result.estimate.mean, 6),
        "low": round(result.estimate.low, 6),
        "high": round(result.estimate.high, 6),
        "confidence": bootstrap.confidence,
        "resamples": bootstrap.resamples,
        "p_value": round(result.p_value, 6),
        "wins": result.wins,
        "ties": result.ties,
        "losses": result.losses,
        "n_items": len(one.item_ids),
        "n_samples": one.n_samples,
    }


def summarise_model(scores: ItemScores, skill: str, bootstrap: Bootstrap) -> dict[str, Any]:
    """Give one model's mean on one skill's prompts, or on `ALL_SKILLS`, with its interval."""
    kept = scores.of_skill(skill)
    estimate = estimate_mean(
        kept.values,
        kept.weights,
        resamples=bootstrap.resamples,
        confidence=bootstrap.confidence,
        seed=derive_seed(bootstrap.seed, "score", scores.metric, scores.model, skill),
    )
    return {
        **scores.about,
        "metric": scores.metric,
        "model": scores.model,
        "skill": skill,
        "score": round(estimate.mean, 6),
        "low": round(estimate.low, 6),
        "high": round(estimate.high, 6),
        "confidence": bootstrap.confidence,
        "n_items": len(kept.item_ids),
        "n_samples": kept.n_samples,
    }


def _check_items(
    where: str,
    by_item: Mapping[str, Mapping[int, Row]],
    wanted: set[str],
    samples: Sequence[int],
) -> None:
    lost = sorted(wanted - set(by_item))
    lost += sorted(item_id for item_id, found in by_item.items() if sorted(found) != samples)
    if lost:
        raise MissingDataError(
            f"{where}: {len(lost)} of {len(wanted)} items lack a score, first {lost[0]!r}; "
            "run `dvc repro`"
        )
    extra = sorted(set(by_item) - wanted)
    if extra:
        raise RecordError(f"{where}: item {extra[0]!r} is not to be scored; run `dvc repro`")


def _about(where: str, rows: Sequence[Row]) -> dict[str, str]:
    keys = ("judge", "policy", "version")
    found = {tuple(json.loads(row["details"])[key] for key in keys) for row in rows}
    if len(found) != 1:
        raise RecordError(f"{where}: scored in different ways: {sorted(found)}; run `dvc repro`")
    return dict(zip(keys, found.pop(), strict=True))


def _check_same(first: ItemScores, second: ItemScores) -> None:
    for name in ("metric", "item_ids", "n_samples", "about"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            shown = "they differ" if name == "item_ids" else f"{one!r} and {other!r}"
            raise RecordError(
                f"{first.metric}: {first.model} and {second.model} cannot be compared, "
                f"{name}: {shown}; score both in the same way"
            )
