"""Two models' scores on the same prompts compared, part by part, with one verdict each."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from selma.comparing import statistics
from selma.comparing.categories import Parts
from selma.comparing.items import ALL_SKILLS, ItemScores, check_same_making, on_common_items
from selma.comparing.power import minimum_detectable_effect
from selma.comparing.statistics import Bootstrap
from selma.core.errors import RecordError

Record = dict[str, Any]
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"
ROUNDING = 1e-12  # 1 - 0.95 is a little more than 0.05


def compare_parts(
    first: Parts, second: Parts, how: Bootstrap, *, margin: float = 0.0, allow_partial: bool = False
) -> list[Record]:
    """Compare two models over all prompts and on each part, with verdicts as of `add_verdicts`.

    The second is the baseline; both are what `categories.split` makes. A difference up to the
    margin, in the measure's unit, is neither better nor worse. `allow_partial` leaves out prompts,
    and parts, that only one of them has.

    Raises:
        MissingDataError: no prompt is common to both.
        RecordError: the models were not scored on the same prompts in the same way.
    """
    one, other = first[ALL_SKILLS], second[ALL_SKILLS]
    check_same_making(one, other)
    on_common_items(one, other, allow_partial=allow_partial)
    shared = [
        part
        for part in first
        if part in second and first[part].items.index.isin(second[part].items.index).any()
    ]
    unpaired = sorted({*first, *second} - {*shared})
    if unpaired and not allow_partial:
        raise RecordError(
            f"{one.measure}: only one of {one.model} and {other.model} has {unpaired[0]!r}; "
            "score both on one benchmark, or allow a partial comparison"
        )
    pairs = {
        part: on_common_items(first[part], second[part], allow_partial=allow_partial)[:2]
        for part in shared
    }
    return add_verdicts([difference(*pair, part, how, margin) for part, pair in pairs.items()])


def difference(
    first: ItemScores, second: ItemScores, skill: str, how: Bootstrap, margin: float = 0.0
) -> Record:
    """Compare the same items, all or one part of them: first − second; unrounded."""
    named = how.named("compare", first.measure, first.model, second.model, skill)
    result = statistics.compare_paired(
        first.values, second.values, first.weights, named, margin=margin
    )
    return {
        **_made(first, skill, how),
        "baseline": second.model,
        "first": first.mean,
        "second": second.mean,
        **asdict(result),
        "resamples": how.resamples,
        "margin": margin,
    }


def summarise_model(
    scores: ItemScores, skill: str, how: Bootstrap, *, kind: str = "score", part: str = ""
) -> Record:
    """Estimate one model's mean on one skill's prompts, or on `ALL_SKILLS`; unrounded."""
    kept = scores.of_skill(skill)
    named = how.named(kind, scores.measure, scores.model, part or skill)
    estimate = asdict(statistics.estimate_mean(kept.values, kept.weights, named))
    return {
        **_made(kept, skill, how),
        "score": estimate.pop("mean"),
        **estimate,
        "standard_error": statistics.standard_error(kept.values, kept.weights),
    }


def add_verdicts(records: Sequence[Record]) -> list[Record]:
    """Add `p_value_holm`, `verdict` and `minimum_detectable_effect` to one pair's differences.

    "better" if the adjusted p-value is at most 1 − confidence and the interval lies above the
    margin (0 if there is none), "worse" if it lies below its negative, else "undecided". The
    p-values of the parts are adjusted by Holm's method as one family, that over all prompts is not.
    Detectable is what is found with 80 % power; for a part at the level that Holm's method gives to
    the least p-value; None without variation: for one prompt, and where all differ alike.
    """
    parts = [record["p_value"] for record in records if record["skill"] != ALL_SKILLS]
    adjusted = iter(statistics.holm(parts))
    judged = []
    for record in records:
        whole = record["skill"] == ALL_SKILLS
        p_value, size = (record["p_value"], 1) if whole else (next(adjusted), len(parts))
        judged.append(_judged(record, p_value, size))
    return judged


def judge_together(records: Sequence[Record]) -> list[Record]:
    """Add the same as `add_verdicts`, with all records as one family for Holm's method."""
    adjusted = statistics.holm([record["p_value"] for record in records])
    return [
        _judged(record, p_value, len(records))
        for record, p_value in zip(records, adjusted, strict=True)
    ]


def _judged(record: Record, p_value: float, family_size: int) -> Record:
    found = {"p_value_holm": p_value, "verdict": _verdict(record, p_value)}
    return record | found | {"minimum_detectable_effect": _detectable(record, family_size)}


def _verdict(record: Record, p_value: float) -> str:
    if p_value <= 1 - record["confidence"] + ROUNDING:
        if record["low"] > record["margin"]:
            return BETTER
        if record["high"] < -record["margin"]:
            return WORSE
    return UNDECIDED


def _detectable(record: Record, family_size: int) -> float | None:
    if record["standard_error"] is None or record["standard_error"] < statistics.TIE:
        return None
    spread = record["standard_error"] * math.sqrt(record["n_items"])
    alpha = (1 - record["confidence"]) / family_size
    found = minimum_detectable_effect(spread, record["n_items"], alpha=alpha)
    return float(record["margin"] + found)


def _made(scores: ItemScores, skill: str, how: Bootstrap) -> Record:
    return {
        "measure": scores.measure,
        **scores.made_by,
        "model": scores.model,
        "skill": skill,
        "n_items": len(scores.items),
        "n_samples": scores.n_samples,
        "confidence": how.confidence,
    }
