"""A scores table brought to one value per prompt, and what two of them must share."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from selma.core.errors import MissingDataError, RecordError

Row = Mapping[str, Any]
Rows = Sequence[Row]
About = Mapping[str, Any]
ALL_SKILLS = "all"
NEEDED = ("metric", "version", "policy", "judge", "unit", "factor")
MADE_BY = (
    "metric", "version", "policy", "unit", "judge", "revision", "judge_settings", "preprocessing",
    "benchmark",
)  # fmt: skip


@dataclass(frozen=True)
class ItemScores:
    """One model's score on each prompt, by a measure, whose name names seeds and records.

    `about` is what the scores table says about itself: metric, unit, judge, policy, version, …
    `items` is indexed by item_id, sorted, with the columns skill, the item's source; value, the
    mean over its pictures, in the unit; weight, in a mean; and pictures, their number.
    """

    measure: str
    model: str
    about: About
    items: pd.DataFrame

    @property
    def values(self) -> NDArray[np.float64]:
        return np.asarray(self.items["value"], np.float64)

    @property
    def weights(self) -> NDArray[np.float64]:
        return np.asarray(self.items["weight"], np.float64)

    @property
    def made_by(self) -> dict[str, Any]:
        """What a record says of how its number was made."""
        keys = ("metric", "version", "policy", "judge", "unit")
        return {**{key: self.about[key] for key in keys}, "judge": judge_label(self.about)}

    @property
    def mean(self) -> float:
        return float(np.average(self.values, weights=self.weights))

    @property
    def n_samples(self) -> float:
        """Pictures per item: an integer, or their mean where items differ."""
        pictures = self.items["pictures"]
        return int(pictures.iloc[0]) if pictures.nunique() == 1 else float(pictures.mean())

    @property
    def skills(self) -> list[str]:
        """The skills of the items, sorted; none where the benchmark names no sources."""
        return sorted({*self.items["skill"]} - {ALL_SKILLS, ""})

    def of_skill(self, skill: str) -> "ItemScores":
        """Keep one skill's items, or all for `ALL_SKILLS`."""
        if skill == ALL_SKILLS:
            return self
        return replace(self, items=self.items[self.items["skill"] == skill])

    def of_items(self, item_ids: Collection[str]) -> "ItemScores":
        return replace(self, items=self.items[self.items.index.isin(list(item_ids))])


def measure_of(about: About) -> str | None:
    """Read what a table measures: its row of params.yaml, or its metric; None for other tables."""
    name = about.get("measure", about.get("metric"))
    return None if name is None else str(name)


def item_scores(measure: str, model: str, rows: Rows, about: About) -> ItemScores:
    """Bring a scores table, rows in any order, to one value per prompt; its source is its skill.

    A prompt counts by its weight, however many pictures it has.

    Raises:
        MissingDataError: there are no scores.
        RecordError: the table holds another measure than `measure_of` says, lacks what it is, or
            an item's rows disagree on its source or weight.
    """
    where = f"scores of {measure} for {model}"
    if not rows:
        raise MissingDataError(f"{where}: there are none; run `dvc repro`")
    lost = [key for key in NEEDED if key not in about]
    if lost:
        raise RecordError(f"{where}: the table lacks its {', '.join(lost)}; score it again")
    if measure_of(about) != measure:
        raise RecordError(f"{where}: the table holds scores of {measure_of(about)!r}")
    columns = ["item_id", "sample", "source", "weight", "score"]
    pictures = pd.DataFrame(rows, columns=columns).sort_values(columns[:2])
    by_item = pictures.groupby("item_id")
    mixed = by_item[["source", "weight"]].nunique(dropna=False).gt(1).any(axis=1)
    if mixed.any():
        raise RecordError(
            f"{where}: item {mixed.idxmax()!r} has several sources or weights; score it again"
        )
    items = by_item.agg(
        skill=("source", "first"), value=("score", "mean"),
        weight=("weight", "first"), pictures=("sample", "size"),
    )  # fmt: skip
    items["value"] *= about["factor"]
    return ItemScores(measure, model, about, items)


def judge_label(about: About) -> str:
    """Name a judge: ``judge@revision``, with its model where the judge's name does not say it."""
    model = str((about.get("judge_settings") or {}).get("path") or "")
    name = str(about["judge"])
    shown = f"{name} {model}" if model and model not in name else name
    return f"{shown}@{about['revision']}" if about.get("revision") else shown


def check_same_making(
    first: ItemScores, second: ItemScores, may_differ: Collection[str] = ()
) -> None:
    """Refuse scores that differ in a key of `MADE_BY` that is none of `may_differ`: RecordError.

    Benchmarks are compared by content, `benchmark_sha256`, if both tables have it, else by name.
    """
    by_content = all(scores.about.get("benchmark_sha256") for scores in (first, second))
    keys = [
        "benchmark_sha256" if key == "benchmark" and by_content else key
        for key in MADE_BY
        if key not in may_differ
    ]
    differ = [
        f"{key} is {_shown(first.about, key)} and {_shown(second.about, key)}"
        for key in keys
        if first.about.get(key) != second.about.get(key)
    ]
    if differ:
        raise _incomparable(first, second, f"{'; '.join(differ)}; score both in the same way")


def on_common_items(
    first: ItemScores, second: ItemScores, *, allow_partial: bool = False
) -> tuple[ItemScores, ItemScores, list[str]]:
    """Keep the items that both have, and list those that only one of them has.

    Raises:
        MissingDataError: there is no common item.
        RecordError: an item is in only one of them and `allow_partial` is off, or has two
            sources or weights.
    """
    common = first.items.index.intersection(second.items.index)
    unpaired = sorted(first.items.index.symmetric_difference(second.items.index))
    if unpaired and not allow_partial:
        reason = f"{len(unpaired)} items are in only one of them, {shortened(map(repr, unpaired))}"
        remedy = "score both on the same prompts, or allow a partial comparison"
        raise _incomparable(first, second, f"{reason}; {remedy}")
    if common.empty:
        raise MissingDataError(
            f"{first.measure}: {first.model} and {second.model} have no item in common; score both "
            "on the same prompts"
        )
    one, other = first.of_items(common), second.of_items(common)
    if not one.items["skill"].equals(other.items["skill"]):
        reason = "their items have different sources; score both on one benchmark"
        raise _incomparable(first, second, reason)
    differ = one.items.index[one.weights != other.weights]
    if len(differ):
        weights = (f"{side.items.loc[differ[0], 'weight']:g}" for side in (one, other))
        reason = f"item {differ[0]!r} weighs {' and '.join(weights)}"
        raise _incomparable(first, second, f"{reason}; score both on the same questions")
    return one, other, unpaired


def shortened(names: Iterable[str], number: int = 3) -> str:
    """Join the first few names, with an ellipsis for the others."""
    listed = list(names)
    return ", ".join(listed[:number]) + (", …" if len(listed) > number else "")


def _incomparable(first: ItemScores, second: ItemScores, reason: str) -> RecordError:
    names = f"{first.measure}: {first.model} and {second.model}"
    return RecordError(f"{names} cannot be compared: {reason}")


def _shown(about: About, key: str) -> str:
    text = json.dumps(about[key], sort_keys=True, ensure_ascii=False) if key in about else "absent"
    return text if len(text) <= 300 else f"{text[:300]}…"
