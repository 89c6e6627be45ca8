"""Scores split by what the questions ask about, such as colour or count."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from selma.comparing.comparison import ItemScores, Row
from selma.core.errors import RecordError


def question_scores(row: Row) -> list[tuple[int, str, float]]:
    """Give id, category and score of each question of a scores row; none if it asks no questions.

    DSG's score is the one after the filter.

    Raises:
        RecordError: the details are not what the scorers write.
    """
    try:
        questions = json.loads(row["details"]).get("questions", [])
        return [
            (
                q["question_id"],
                q["category"],
                float(q["filtered"] if "filtered" in q else q["score"]),
            )
            for q in questions
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"scores: item {row['item_id']!r} sample {row['sample']}: the details hold no "
            f"question_id, category and score per question ({error!r}); score it again"
        ) from error


def category_scores(whole: ItemScores, rows: Sequence[Row]) -> dict[str, ItemScores]:
    """Split a model's scores by the category of the questions, sorted by name.

    An item's value is the mean over its questions of the category, pooled over its pictures; its
    weight is the number of those questions. Items without such questions are left out.

    Args:
        whole: what `item_scores` makes of the rows.
        rows: of the scores table.

    Returns:
        Nothing if the metric asks no questions.
    """
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in sorted(rows, key=lambda row: (str(row["item_id"]), int(row["sample"]))):
        for question_id, category, score in question_scores(row):
            items = found.setdefault(category, {})
            items.setdefault(row["item_id"], []).append((question_id, score))
    return {
        category: replace(
            whole.of_items(items),
            skills=(category,) * len(items),
            values=np.array(
                [whole.factor * np.mean([s for _, s in items[i]]) for i in sorted(items)]
            ),
            weights=np.array([float(len({q for q, _ in items[i]})) for i in sorted(items)]),
        )
        for category, items in sorted(found.items())
    }
