"""Says of each measured difference whether it is there, and how small a one would be found."""

import math
from collections.abc import Sequence

from selma.comparing.comparison import (
    ALL_SKILLS,
    Bootstrap,
    ItemScores,
    Record,
    checked_pair,
    difference,
    rounded,
)
from selma.comparing.multiple import holm
from selma.comparing.power import minimum_detectable_effect
from selma.comparing.statistics import TIE

BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"
ROUNDING = 1e-12  # 1 - 0.95 is a little more than 0.05


def compare_skills(
    first: ItemScores, second: ItemScores, skills: Sequence[str], bootstrap: Bootstrap
) -> list[Record]:
    """Compare two models on all prompts and on each skill's, with verdicts, as `add_verdicts` says.

    Args:
        first: of the model that should be better.
        second: of its baseline.
        skills: `ALL_SKILLS` and skills; those without it are one family for Holm's adjustment.
        bootstrap: how intervals are made.

    Returns:
        Records as of `compare_models`, in the order of the skills, rounded.

    Raises:
        RecordError: the models were not scored on the same prompts in the same way.
    """
    one, other = checked_pair(first, second)
    records = [
        difference(one.of_skill(skill), other.of_skill(skill), skill, bootstrap) for skill in skills
    ]
    return [rounded(record) for record in add_verdicts(records)]


def add_verdicts(records: Sequence[Record]) -> list[Record]:
    """Say for each difference of one pair of models on one metric whether it is there.

    "better" if the adjusted p-value is at most 1 − confidence and the interval lies above the
    margin (0 if there is none), "worse" if it lies below its negative, else "undecided". The
    p-values of the skills are adjusted by Holm's method, all skills being one family; the one over
    all prompts is the first question asked and stays as it is.

    Returns:
        The records with `p_value_holm`, `verdict` and `minimum_detectable_effect`: the true
        difference that is found with 80 % power; for a skill at the level that Holm's method gives
        to the least p-value. None for a single prompt, and where all prompts differ alike: there
        is no variation to tell it from.
    """
    family = [index for index, record in enumerate(records) if record["skill"] != ALL_SKILLS]
    adjusted = [record["p_value"] for record in records]
    for index, value in zip(family, holm([adjusted[index] for index in family]), strict=True):
        adjusted[index] = value
    sizes = [1 if record["skill"] == ALL_SKILLS else len(family) for record in records]
    return [
        {
            **record,
            "p_value_holm": p_value,
            "verdict": _verdict(record, p_value),
            "minimum_detectable_effect": _detectable(record, size),
        }
        for record, p_value, size in zip(records, adjusted, sizes, strict=True)
    ]


def _verdict(record: Record, p_value: float) -> str:
    if p_value <= 1 - record["confidence"] + ROUNDING:
        if record["low"] > record["margin"]:
            return BETTER
        if record["high"] < -record["margin"]:
            return WORSE
    return UNDECIDED


def _detectable(record: Record, family_size: int) -> float | None:
    if record["standard_error"] is None or record["standard_error"] < TIE:
        return None
    spread = record["standard_error"] * math.sqrt(record["n_items"])
    alpha = (1 - record["confidence"]) / family_size
    found = minimum_detectable_effect(spread, record["n_items"], alpha=alpha)
    return float(record["margin"] + found)
