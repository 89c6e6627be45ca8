"""Scores split into parts: by the items' skill, or by what the questions ask about."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from selma.comparing.items import ALL_SKILLS, ItemScores, Row, Rows
from selma.core.choices import choose
from selma.core.errors import RecordError

Parts = Mapping[str, ItemScores]  # `ALL_SKILLS` first


def question_scores(row: Row) -> list[tuple[int, str, float]]:
    """Read id, category and score of each question of a scores row; none if it asks no questions.

    DSG's score is the one after the filter. Details that no scorer wrote are a RecordError.
    """
    try:
        return [
            (q["question_id"], q["category"], float(q["filtered" if "filtered" in q else "score"]))
            for q in json.loads(row["details"]).get("questions", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"scores: item {row['item_id']!r} sample {row['sample']}: the details hold no "
            f"question_id, category and score per question ({error!r}); score it again"
        ) from error


def question_table(rows: Rows) -> pd.DataFrame:
    """List item_id, sample, question_id, category and score of all questions of all pictures."""
    listed = [
        (row["item_id"], row["sample"], *asked) for row in rows for asked in question_scores(row)
    ]
    return pd.DataFrame(
        listed, columns=["item_id", "sample", "question_id", "category", "score"]
    ).sort_values(["item_id", "sample", "question_id"], ignore_index=True)


def category_scores(whole: ItemScores, rows: Rows) -> dict[str, ItemScores]:
    """Split a model's scores by the category of the questions, sorted by name.

    An item's value is the mean over its questions of the category, pooled over its pictures; its
    weight is the number of those questions. Items without such questions are left out.
    """
    parts = {}
    for category, asked in question_table(rows).groupby("category"):
        by_item = asked.groupby("item_id")
        kept = whole.of_items(by_item.groups)
        items = kept.items.assign(
            skill=category,
            value=whole.about["factor"] * by_item["score"].mean(),
            weight=by_item["question_id"].nunique().astype(float),
        )
        parts[str(category)] = replace(kept, items=items)
    return parts


SPLITS: dict[str, Callable[[ItemScores, Rows], dict[str, ItemScores]]] = {
    "skill": lambda whole, rows: {skill: whole.of_skill(skill) for skill in whole.skills},
    "category": category_scores,
    "none": lambda whole, rows: {},
}


def split(whole: ItemScores, rows: Rows = (), by: str = "skill") -> Parts:
    """List a model's scores over all items, and then over each part of them, by one of `SPLITS`.

    The skill is the item's source, the category that of its questions, read from the table's rows.
    """
    return {ALL_SKILLS: whole, **choose("split", by, SPLITS)(whole, rows)}
