"""TIFA is the share of answers that equal their keys."""

import json

import pytest

from selma.errors import MissingDataError
from selma.evaluation.tifa import score_tifa

ITEM = {
    "item_id": "count_1",
    "prompt": "two red stars",
    "source": "count",
    "questions": [
        {
            "question_id": number,
            "question": text,
            "choices": choices,
            "answer": key,
            "parents": [],
            "category": category,
        }
        for number, text, choices, key, category in (
            (1, "How many stars are there?", ["1", "2", "3"], "2", "counting"),
            (2, "What color are the stars?", ["red", "blue"], "red", "color"),
        )
    ],
}


def answers(*texts, sample=0):
    return [
        {
            "item_id": "count_1",
            "sample": sample,
            "question_id": number,
            "raw_answer": text,
            "answer": text,
            "judge": "pocket",
            "revision": "1",
        }
        for number, text in enumerate(texts, start=1)
    ]


def test_a_picture_scores_the_share_of_its_right_answers():
    rows = score_tifa([ITEM], answers("2", "blue") + answers("2", "red", sample=1), mapping="exact")
    assert [(row["sample"], row["score"]) for row in rows] == [(0, 0.5), (1, 1.0)]


def test_an_answer_outside_the_choices_is_wrong_under_the_exact_mapping():
    rows = score_tifa([ITEM], answers("unknown", "Red"), mapping="exact")
    assert rows[0]["score"] == 0.0


def test_details_keep_answer_and_key_per_question():
    details = json.loads(score_tifa([ITEM], answers("3", "red"), mapping="exact")[0]["details"])
    told = [(q["category"], q["answer"], q["key"], q["score"]) for q in details["questions"]]
    assert told == [("counting", "3", "2", 0), ("color", "red", "red", 1)]


def test_an_item_without_questions_is_skipped_not_scored_zero():
    empty = {"item_id": "empty", "prompt": "", "source": "count", "questions": []}
    rows = score_tifa([ITEM, empty], answers("2", "red"), mapping="exact")
    assert [row["item_id"] for row in rows] == ["count_1"]


def test_no_answers_at_all_is_missing_data():
    with pytest.raises(MissingDataError, match="2 of 2 are missing"):
        score_tifa([ITEM], [], mapping="exact")
