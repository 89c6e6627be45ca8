"""Score rows cut into cells: by prompts (source, group) or by questions (skill, type), each with n.

Prompts are what is drawn again for an interval, in cells of questions too: the questions of one
prompt and the pictures of one prompt stay together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selma.comparing.categories import question_scores
from selma.comparing.comparison import Bootstrap
from selma.comparing.power import PowerNote, power_note
from selma.comparing.statistics import estimate_mean, standard_error
from selma.core.seeds import derive_seed

Row = Mapping[str, Any]
Totals = dict[str, list[float]]  # item_id → [weighted sum, weight]


@dataclass(frozen=True)
class Cell:
    """A mean with its interval.

    Attributes:
        name: of the cell, e.g. a skill.
        value: the mean, in the unit that was asked for.
        low: end of the interval; None if all its prompts are alike, for then the bootstrap has
            nothing to draw from.
        high: likewise.
        n_prompts: prompts with a part in the cell.
        n_questions: questions in the cell, each picture's counted; 0 where none are asked.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    n_prompts: int
    n_questions: int


def overall(rows: Sequence[Row], factor: float, how: Bootstrap) -> Cell:
    """Give the weighted mean of all rows, times `factor`; `rows` are those of a scores table."""
    return prompt_cells(rows, lambda row: "all", factor, how)[0]


def prompt_cells(
    rows: Sequence[Row], label: Callable[[Row], str], factor: float, how: Bootstrap
) -> list[Cell]:
    """Give the weighted mean of the prompts of each label, sorted by label.

    A prompt's value is the mean over its pictures, its weight its rows' `weight`.
    """
    values: dict[str, dict[str, list[float]]] = {}
    weights: dict[str, float] = {}
    questions: dict[str, int] = {}
    for row in rows:
        name = label(row)
        values.setdefault(name, {}).setdefault(row["item_id"], []).append(row["score"])
        weights[row["item_id"]] = row["weight"]
        questions[name] = questions.get(name, 0) + len(question_scores(row))
    cells = []
    for name in sorted(values):
        totals = {
            item_id: [weights[item_id] * float(np.mean(found)), weights[item_id]]
            for item_id, found in values[name].items()
        }
        cells.append(_cell(name, totals, questions[name], factor, how))
    return cells


def question_cells(
    rows: Sequence[Row],
    label: Callable[[str, int, str], str | None],
    factor: float,
    how: Bootstrap,
) -> list[Cell]:
    """Give the mean over all questions of each label, pooled over prompts, sorted by label.

    Args:
        rows: of a scores table whose details have questions.
        label: item_id, question_id and category → cell; None leaves the question out.
        factor: what the mean is multiplied by.
        how: the bootstrap over prompts.
    """
    totals: dict[str, Totals] = {}
    for row in rows:
        for question_id, category, point in question_scores(row):
            name = label(row["item_id"], question_id, category)
            if name is not None:
                total = totals.setdefault(name, {}).setdefault(row["item_id"], [0.0, 0.0])
                total[0] += point
                total[1] += 1.0
    return [
        _cell(name, found, int(sum(count for _, count in found.values())), factor, how)
        for name, found in sorted(totals.items())
    ]


def prompt_scores(rows: Sequence[Row]) -> dict[str, float]:
    """Give each prompt's score, the mean over its pictures, in the table's own unit."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["item_id"], []).append(row["score"])
    return {item_id: float(np.mean(found)) for item_id, found in sorted(values.items())}


def what_it_tells_apart(rows: Sequence[Row], factor: float, how: Bootstrap) -> PowerNote | None:
    """Say what the mean of all rows can be told apart from; None below two prompts."""
    weight = {row["item_id"]: row["weight"] for row in rows}
    scores = prompt_scores(rows)
    if len(scores) < 2:
        return None
    values = factor * np.array(list(scores.values()))
    error = standard_error(values, np.array([weight[item_id] for item_id in scores]))
    spread = error * len(scores) ** 0.5
    return power_note(spread, len(scores), alpha=1 - how.confidence)


def weighted_mean(rows: Sequence[Row]) -> float:
    """Give the weighted mean over prompts in the table's own unit, without an interval."""
    weights = {row["item_id"]: row["weight"] for row in rows}
    scores = prompt_scores(rows)
    values = list(scores.values())
    return float(np.average(values, weights=[weights[item_id] for item_id in scores]))


def sample_deviation(rows: Sequence[Row]) -> float | None:
    """Give the sample deviation (n − 1) over prompts, as TIFA prints it; None below two prompts."""
    values = list(prompt_scores(rows).values())
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _cell(name: str, totals: Totals, n_questions: int, factor: float, how: Bootstrap) -> Cell:
    array = np.array([totals[item_id] for item_id in sorted(totals)])  # (N, 2)
    estimate = estimate_mean(
        array[:, 0] / array[:, 1],
        array[:, 1],
        resamples=how.resamples,
        confidence=how.confidence,
        seed=derive_seed(how.seed, "cell", name),
    )
    alike = bool(np.ptp(array[:, 0] / array[:, 1]) == 0)
    low, high = (None, None) if alike else (factor * estimate.low, factor * estimate.high)
    return Cell(name, factor * estimate.mean, low, high, len(totals), n_questions)
