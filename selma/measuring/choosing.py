"""The act of choosing: of several pictures of a prompt the best, if it is good enough.

Source: DreamSync, arXiv 2311.17946, section 3: pictures whose ratings pass all thresholds, of these
the best, at most one for a prompt.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selma.core.errors import RecordError

Row = Mapping[str, Any]
Ratings = Mapping[str, Sequence[float]]  # by rater, of each row


@dataclass(frozen=True)
class Chosen:
    """Rows that are kept, at most one for a prompt, and what became of the others."""

    rows: list[Row]
    counts: dict[str, Any]


def choose_best(
    rows: Sequence[Row],
    ratings: Ratings,
    *,
    thresholds: Mapping[str, float],
    rank_by: Sequence[str],
) -> Chosen:
    """Keep of each prompt's pictures the best of those that pass; its number stays what it was.

    A picture passes if every rater rates it, and those of `thresholds` at least so high. The best
    is the one that the first of `rank_by` rates highest; of equals by the next, then the first
    drawn.

    Args:
        rows: of an images table.
        ratings: by rater; NaN is no rating.
        thresholds: by rater.
        rank_by: raters.

    Raises:
        RecordError: no picture of any prompt passes.
    """
    best: dict[str, tuple[tuple[float, ...], int]] = {}
    passed = dict.fromkeys(sorted(thresholds), 0)
    passing = unrated = 0
    for place, row in enumerate(rows):
        own = {name: values[place] for name, values in ratings.items()}
        good = [name for name in passed if own[name] >= thresholds[name]]
        for name in good:
            passed[name] += 1
        rated = not any(map(math.isnan, own.values()))
        unrated += not rated
        if not rated or len(good) < len(passed):
            continue
        passing += 1
        key = (*(own[name] for name in rank_by), -row["sample"])
        best[row["prompt_id"]] = max(best.get(row["prompt_id"], (key, place)), (key, place))
    if not best:
        limits = ", ".join(f"{name} {limit:g}" for name, limit in sorted(thresholds.items()))
        raise RecordError(
            f"of {len(rows)} pictures none passes ({limits or 'no rating'}; {unrated} could not be "
            "rated); lower the thresholds, or draw more candidates"
        )
    kept = sorted(place for _, place in best.values())
    prompts = len({row["prompt_id"] for row in rows})
    return Chosen(
        [rows[place] for place in kept],
        {
            "pictures": len(rows),
            "prompts": prompts,
            "kept": len(kept),
            "keep_rate": len(kept) / prompts,
            "passing": passing,
            "unrated": unrated,
            "pass_rate": {name: number / len(rows) for name, number in passed.items()},
            "mean": {name: _mean(values) for name, values in sorted(ratings.items())},
            "mean_kept": {
                name: _mean([values[place] for place in kept])
                for name, values in sorted(ratings.items())
            },
        },
    )


def all_kept(rows: Sequence[Row]) -> dict[str, Any]:
    """The counts where nothing is chosen."""
    prompts = len({row["prompt_id"] for row in rows})
    return {"pictures": len(rows), "prompts": prompts, "kept": prompts, "keep_rate": 1.0}


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else None
