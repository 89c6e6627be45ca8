"""Rows of a study, each scored with several training seeds: their means, differences, verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selma.comparing.comparison import BETTER, ROUNDING, UNDECIDED, WORSE
from selma.comparing.items import ItemScores, check_same_making, on_common_items
from selma.comparing.statistics import TIE, Bootstrap, holm
from selma.comparing.training_seeds import (
    SeedsEstimate,
    detectable_over_seeds,
    estimate_over_seeds,
)
from selma.core.errors import RecordError, SelmaError

Record = dict[str, Any]
SHOWN, OPPOSITE, NOT_SHOWN = "shown", "opposite", "not shown"


class Contrast(NamedTuple):
    """A difference of two rows on a measure: first − second."""

    measure: str
    first: str
    second: str


@dataclass(frozen=True)
class SeedScores:
    """One row's scores on one measure: the same prompts, in the same way, with each seed.

    `values` is (S, N) in the measure's unit, seeds and items in the order of their names.
    """

    row: str
    seeds: tuple[int, ...]
    one: ItemScores  # of the first seed: what all have in common
    values: NDArray[np.float64]


def over_seeds(row: str, by_seed: Mapping[int, ItemScores]) -> SeedScores:
    """Put the scores of all seeds on top of each other.

    Raises:
        RecordError, MissingDataError: two seeds were not scored on the same prompts in one way.
    """
    seeds = sorted(by_seed)
    one = by_seed[seeds[0]]
    for seed in seeds[1:]:
        try:
            check_same_making(one, by_seed[seed])
            on_common_items(one, by_seed[seed])
        except SelmaError as error:
            raise type(error)(f"seeds {seeds[0]} and {seed}: {error}") from error
    return SeedScores(row, tuple(seeds), one, np.stack([by_seed[seed].values for seed in seeds]))


def row_score(scores: SeedScores, how: Bootstrap) -> Record:
    """Estimate a row's mean over seeds and prompts; unrounded."""
    named = how.named("row", scores.one.measure, scores.row)
    estimate = estimate_over_seeds(scores.values, scores.one.weights, named)
    return {**_made(scores, how), "row": scores.row, **_numbers(estimate, "score")}


def compare_rows(first: SeedScores, second: SeedScores, how: Bootstrap) -> Record:
    """Compare two rows, paired in each seed and prompt: first − second; unrounded, no verdict.

    Raises:
        RecordError, MissingDataError: they have other seeds, or were not scored in one way.
    """
    if first.seeds != second.seeds:
        raise RecordError(
            f"{first.row} and {second.row}: seeds {list(first.seeds)} and {list(second.seeds)}; "
            "expected the same ones of both"
        )
    check_same_making(first.one, second.one)
    on_common_items(first.one, second.one)
    differences = first.values - second.values
    differences[np.abs(differences) < TIE] = 0.0
    named = how.named("rows", first.one.measure, first.row, second.row)
    estimate = estimate_over_seeds(differences, first.one.weights, named)
    of_prompts = differences.mean(axis=0)
    of_prompts[np.abs(of_prompts) < TIE] = 0.0
    return {
        **_made(first, how),
        "first": first.row,
        "second": second.row,
        **_numbers(estimate, "difference"),
        "seeds_won": sum(mean > TIE for mean in estimate.seed_means),
        "wins": int((of_prompts > 0).sum()),
        "ties": int((of_prompts == 0).sum()),
        "losses": int((of_prompts < 0).sum()),
    }


def judge_family(records: Sequence[Record]) -> list[Record]:
    """Add Holm's p-value, a verdict and the detectable effect: the records are one family.

    Two rows compared on a measure are one hypothesis of it, however often and either way round.
    "better" if the adjusted p-value is at most 1 − confidence and the difference positive, "worse"
    if it is negative, else "undecided". Detectable is what such a study finds with 80 % power at
    the level that Holm's method gives to the least p-value.
    """
    asked = {_hypothesis(record): record["p_value"] for record in records}
    adjusted = dict(zip(asked, holm(list(asked.values())), strict=True))
    judged = []
    for record in records:
        p_value = adjusted[_hypothesis(record)]
        level = 1 - record["confidence"]
        verdict = UNDECIDED
        if p_value <= level + ROUNDING:
            verdict = BETTER if record["difference"] > 0 else WORSE
        error, freedom = record["standard_error"], record["degrees_of_freedom"]
        varies = error is not None and freedom is not None
        alpha = level / len(asked)
        found = detectable_over_seeds(error, freedom, alpha=alpha) if varies else None
        added = {"p_value_holm": p_value, "verdict": verdict, "minimum_detectable_effect": found}
        judged.append(record | added)
    return judged


def family_size(records: Sequence[Record]) -> int:
    """Count the hypotheses for which `judge_family` adjusts."""
    return len(set(map(_hypothesis, records)))


def _hypothesis(record: Record) -> tuple[str, frozenset[str]]:
    """Name what a difference asks: the same, whichever of its rows is the first."""
    return record["measure"], frozenset((record["first"], record["second"]))


def claim_verdict(record: Record, *, greater: bool) -> str:
    """Say of a judged difference whether it shows the claim that it is greater, or less, than 0."""
    if record["verdict"] == UNDECIDED:
        return NOT_SHOWN
    return SHOWN if (record["verdict"] == BETTER) == greater else OPPOSITE


def _numbers(estimate: SeedsEstimate, name: str) -> Record:
    numbers = asdict(estimate)
    return {name: numbers.pop("mean"), **numbers, "seed_means": list(estimate.seed_means)}


def _made(scores: SeedScores, how: Bootstrap) -> Record:
    return {
        "measure": scores.one.measure,
        **scores.one.made_by,
        "seeds": list(scores.seeds),
        "n_items": len(scores.one.items),
        "n_samples": scores.one.n_samples,
        "confidence": how.confidence,
        "resamples": how.resamples,
    }
