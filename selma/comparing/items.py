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
About = Mapping[str, Any]
ALL_SKILLS = "all"
NEEDED = ("metric", "version", "policy", "judge", "unit", "factor")
MADE_BY = (
    "metric", "version", "policy", "unit", "judge", "revision", "judge_settings", "preprocessing",
    "benchmark",
)  # fmt: skip


@dataclass(frozen=True)
class ItemScores:
    """One model's score on each prompt.

    Attributes:
        measure: what was measured; names seeds and records.
        model: whose pictures were scored.
        about: what the scores table says about itself: metric, unit, judge, policy, version, …
        items: indexed by item_id, sorted. skill: the item's source; value: the mean over its
            pictures, in the unit; weight: in a mean; pictures: their number.
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


def item_scores(
    measure: str,
    model: str,
    rows: Sequence[Row],
    about: About,
    benchmark: Sequence[Row] | None = None,
) -> ItemScores:
    """Bring a scores table to one value per prompt; a row's source is its skill.

    A prompt counts by its weight, however many pictures it has.

    Args:
        measure: what the table must hold, see `measure_of`.
        model: whose pictures were scored.
        rows: of the scores table, in any order.
        about: its metadata.
        benchmark: rows of the benchmark table; if given, each of its items must have a score for
            each of its pictures, but those without questions where the measure asks some.

    Raises:
        MissingDataError: there are no scores, or an item lacks one that others have.
        RecordError: the table holds another measure, an item is not to be scored, or its rows
            disagree on its source or weight.
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
    if benchmark is not None:
        asks = bool(json.loads(rows[0]["details"]).get("questions"))
        wanted = {row["item_id"] for row in benchmark if row["questions"] or not asks}
        _check_items(where, by_item["sample"].agg(tuple), wanted)
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
    """Refuse scores that differ in more than whose pictures were scored.

    Benchmarks are compared by content, `benchmark_sha256`, if both tables have it, else by name.

    Raises:
        RecordError: they differ in a key of `MADE_BY` that is none of `may_differ`.
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
        raise RecordError(
            f"{_names(first, second)} cannot be compared: {'; '.join(differ)}; score both in the "
            "same way"
        )


def on_common_items(
    first: ItemScores, second: ItemScores, *, allow_partial: bool = False
) -> tuple[ItemScores, ItemScores, list[str]]:
    """Keep the items that both have, and list those that only one of them has.

    Raises:
        MissingDataError: there is no common item.
        RecordError: an item is in only one of them and `allow_partial` is off, or has two
            sources or weights.
    """
    names = _names(first, second)
    common = first.items.index.intersection(second.items.index)
    unpaired = sorted(first.items.index.symmetric_difference(second.items.index))
    if unpaired and not allow_partial:
        raise RecordError(
            f"{names} cannot be compared: {len(unpaired)} items are in only one of them, "
            f"{shortened(map(repr, unpaired))}; score both on the same prompts, or allow a partial "
            "comparison"
        )
    if common.empty:
        raise MissingDataError(f"{names} have no item in common; score both on the same prompts")
    one, other = first.of_items(common), second.of_items(common)
    if not one.items["skill"].equals(other.items["skill"]):
        raise RecordError(
            f"{names} cannot be compared: their items have different sources; score both on one "
            "benchmark"
        )
    differ = one.items.index[one.weights != other.weights]
    if len(differ):
        weights = (f"{side.items.loc[differ[0], 'weight']:g}" for side in (one, other))
        raise RecordError(
            f"{names} cannot be compared: item {differ[0]!r} weighs {' and '.join(weights)}; "
            "score both on the same questions"
        )
    return one, other, unpaired


def shortened(names: Iterable[str], number: int = 3) -> str:
    """Join the first few names, with an ellipsis for the others."""
    listed = list(names)
    return ", ".join(listed[:number]) + (", …" if len(listed) > number else "")


def _names(first: ItemScores, second: ItemScores) -> str:
    return f"{first.measure}: {first.model} and {second.model}"


def _shown(about: About, key: str) -> str:
    text = json.dumps(about[key], sort_keys=True, ensure_ascii=False) if key in about else "absent"
    return text if len(text) <= 300 else f"{text[:300]}…"


def _check_items(where: str, samples: "pd.Series[Any]", wanted: set[str]) -> None:
    """Check that the items are those wanted and that each has a score for every sample."""
    every = tuple(sorted({sample for found in samples for sample in found}))
    lost = sorted(wanted - {*samples.index}) + [*samples.index[samples != every]]
    if lost:
        raise MissingDataError(
            f"{where}: {len(lost)} of {len(wanted)} items lack a score, first {lost[0]!r}; "
            "run `dvc repro`"
        )
    extra = sorted({*samples.index} - wanted)
    if extra:
        raise RecordError(f"{where}: item {extra[0]!r} is not to be scored; run `dvc repro`")
