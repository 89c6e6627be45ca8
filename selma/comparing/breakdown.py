"""Score rows cut into cells: by prompts (source, group) or by questions (skill, type), each with n.

Intervals draw prompts again, in cells of questions too: what belongs to one prompt stays together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from selma.comparing.categories import question_scores, question_table
from selma.comparing.items import Row, Rows
from selma.comparing.power import PowerNote, describe_power
from selma.comparing.statistics import Bootstrap, estimate_mean, standard_error


@dataclass(frozen=True)
class Cell:
    """A mean with its interval; without one if all its prompts are alike: there is no variation.

    Counted are the prompts with a part in the cell and its questions, those of each picture.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    n_prompts: int
    n_questions: int


def overall(rows: Rows, factor: float, how: Bootstrap) -> Cell:
    """Average all rows of a scores table by weight, times `factor`."""
    return prompt_cells(rows, lambda row: "all", factor, how)[0]


def prompt_cells(
    rows: Rows, label: Callable[[Row], str], factor: float, how: Bootstrap
) -> list[Cell]:
    """Average the prompts of each label, means over pictures, by weight, sorted by label."""
    table = pd.DataFrame(rows, columns=["item_id", "score", "weight"]).assign(
        label=[label(row) for row in rows], questions=[len(question_scores(row)) for row in rows]
    )
    return [
        _cell(str(name), _items(part), int(part["questions"].sum()), factor, how)
        for name, part in table.groupby("label")
    ]


def question_cells(
    rows: Rows, label: Callable[[str, int, str], str | None], factor: float, how: Bootstrap
) -> list[Cell]:
    """Average all questions of each label, pooled over prompts, times `factor`, sorted by label.

    The label is made of item_id, question_id and category; None leaves the question out.
    """
    table = question_table(rows)
    asked = zip(table["item_id"], table["question_id"], table["category"], strict=True)
    table["label"] = [label(*one) for one in asked]
    return [
        _cell(
            str(name),
            part.groupby("item_id").agg(value=("score", "mean"), weight=("score", "size")),
            len(part),
            factor,
            how,
        )
        for name, part in table.dropna(subset="label").groupby("label")
    ]


def prompt_scores(rows: Rows) -> dict[str, float]:
    """Average each prompt's score over its pictures, in the table's own unit, sorted by item."""
    return {str(item_id): float(score) for item_id, score in _items(rows)["value"].items()}


def power_note(rows: Rows, factor: float, how: Bootstrap) -> PowerNote | None:
    """Say what the mean of all rows can be distinguished from; None below two prompts."""
    items = _items(rows)
    error = standard_error(factor * items["value"].to_numpy(), items["weight"].to_numpy())
    if error is None:
        return None
    return describe_power(error * len(items) ** 0.5, len(items), alpha=1 - how.confidence)


def weighted_mean(rows: Rows) -> float:
    """Average over prompts by weight, in the table's own unit, without an interval."""
    items = _items(rows)
    return float(np.average(items["value"], weights=items["weight"]))


def sample_deviation(rows: Rows) -> float | None:
    """Compute the deviation (n − 1) over prompts, as TIFA prints it; None below two prompts."""
    values = _items(rows)["value"]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _items(rows: Rows | pd.DataFrame) -> pd.DataFrame:
    by_item = pd.DataFrame(rows, columns=["item_id", "score", "weight"]).groupby("item_id")
    return by_item.agg(value=("score", "mean"), weight=("weight", "first"))


def _cell(name: str, items: pd.DataFrame, n_questions: int, factor: float, how: Bootstrap) -> Cell:
    values, weights = items["value"].to_numpy(), items["weight"].to_numpy(np.float64)
    estimate = estimate_mean(values, weights, how.named("cell", name))
    alike = bool(np.ptp(values) == 0)
    low, high = (None, None) if alike else (factor * estimate.low, factor * estimate.high)
    return Cell(name, factor * estimate.mean, low, high, len(items), n_questions)
