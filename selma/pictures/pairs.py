"""Chooses pairs of rated pictures of one prompt: the better and the worse."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selma.core.errors import RecordError

Row = Mapping[str, Any]
Key = tuple[str, int]  # prompt_id, sample
Rated = tuple[int, float]  # sample, rating


@dataclass(frozen=True)
class Choice:
    """The better and the worse picture of each prompt that has both, and what there was to see."""

    pairs: Sequence[tuple[Key, Key]]  # (winner, loser), sorted by prompt
    counts: Mapping[str, int]  # prompts, pairs, and prompts without a gap


def choose_pairs(rows: Iterable[Row], min_gap: float) -> Choice:
    """Pair each prompt's best picture with its worst; of equal ratings the first sample counts.

    `rows` have prompt_id, sample and rating, in any order. A prompt is left out if its best is
    above its worst by less than `min_gap`, in the rating's unit, or not at all. RecordError if no
    pair is left.
    """
    found = _extremes(rows)
    pairs = [
        ((prompt_id, best[0]), (prompt_id, worst[0]))
        for prompt_id, best, worst in found
        if best[1] > worst[1] and best[1] - worst[1] >= min_gap
    ]
    if not pairs:
        raise RecordError(
            f"there is no pair to train on: of {len(found)} prompts none has two pictures whose "
            f"ratings are {min_gap:g} or more apart; lower min_gap or draw more per prompt"
        )
    counts = {"prompts": len(found), "pairs": len(pairs), "too_close": len(found) - len(pairs)}
    return Choice(pairs, counts)


def describe_ratings(rows: Iterable[Row]) -> dict[str, float]:
    """Say what can be learnt from: mean rating, and how far apart a prompt's best and worst are.

    {} if there are no rows.
    """
    rows = list(rows)
    gaps = [best[1] - worst[1] for _, best, worst in _extremes(rows)]
    if not gaps:
        return {}
    return {
        "rating": sum(row["rating"] for row in rows) / len(rows),
        "gap": sum(gaps) / len(gaps),
        "prompts_without_gap": sum(gap == 0 for gap in gaps),
    }


def _extremes(rows: Iterable[Row]) -> list[tuple[str, Rated, Rated]]:
    """Each prompt's best and worst picture, sorted by prompt."""
    rated = sorted((row["prompt_id"], row["sample"], row["rating"]) for row in rows)
    found = []
    for prompt_id, group in itertools.groupby(rated, key=lambda one: one[0]):
        own = [(sample, rating) for _, sample, rating in group]
        best, worst = (choose(own, key=lambda one: one[1]) for choose in (max, min))
        found.append((prompt_id, best, worst))
    return found
