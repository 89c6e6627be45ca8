"""TIFA is the share of answers that equal their keys."""

import json
import sys
from functools import partial

import pytest

from selma.core.errors import (
    ConfigError,
    MissingDataError,
    MissingDependencyError,
    RecordError,
)
from selma.metrics import tifa
from selma.metrics.tifa import ChoiceMapping, load_mapping

score_tifa = partial(tifa.score_tifa, no_answer_max=0.5)

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
            "dependency": "0",
            "category": category,
            "element": "",
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
            "judge": "pocket",
            "revision": "1",
            "sha256": "",
            "raw_answer": text,
            "answer": text,
        }
        for number, text in enumerate(texts, start=1)
    ]


def test_a_picture_scores_the_share_of_its_right_answers():
    given = answers("2", "blue") + answers("2", "red", sample=1)
    rows, about = score_tifa([ITEM], given)
    assert [(row["sample"], row["score"]) for row in rows] == [(0, 0.5), (1, 1.0)]
    assert (about["policy"], about["n_items"], about["n_pictures"]) == ("exact mapping", 1, 2)


def test_an_answer_outside_the_choices_is_wrong_under_the_exact_mapping():
    rows, _ = score_tifa([ITEM], answers("unknown", "Red"))
    assert rows[0]["score"] == 0.0


def test_details_keep_answer_and_key_per_question():
    rows, _ = score_tifa([ITEM], answers("3", "red"))
    details = json.loads(rows[0]["details"])
    told = [(q["category"], q["answer"], q["key"], q["score"]) for q in details["questions"]]
    assert told == [("counting", "3", "2", 0), ("color", "red", "red", 1)]


def test_an_item_without_questions_is_skipped_not_scored_zero():
    empty = {"item_id": "empty", "prompt": "", "source": "count", "questions": []}
    rows, _ = score_tifa([ITEM, empty], answers("2", "red"))
    assert [row["item_id"] for row in rows] == ["count_1"]


def test_no_answers_at_all_is_missing_data():
    with pytest.raises(MissingDataError, match="2 of 2 are missing"):
        score_tifa([ITEM], [])


def test_a_mapper_turns_a_free_answer_into_a_choice_before_it_is_compared():
    def nearest_length(answer, choices):
        return min(choices, key=lambda choice: abs(len(choice) - len(answer)))

    mapping = ChoiceMapping("length", nearest_length, {"ruler": "1"})
    rows, about = score_tifa([ITEM], answers("x", "rot"), mapping=mapping)
    assert rows[0]["score"] == 0.5  # "x" becomes "1", which is wrong, and "rot" becomes "red"
    assert (about["policy"], about["libraries"]) == ("length mapping", {"ruler": "1"})


def test_the_sentence_mapping_asks_for_its_model_and_an_unknown_one_lists_all():
    with pytest.raises(ConfigError, match="all-mpnet-base-v2"):
        load_mapping("sbert", None, [ITEM], [])
    with pytest.raises(ConfigError, match="choose one of: exact, sbert"):
        load_mapping("sbret", None, [ITEM], [])


def test_yes_no_questions_without_choices_are_no_tifa_questions():
    asked = {**ITEM["questions"][0], "choices": [], "answer": "yes"}
    with pytest.raises(RecordError, match="'count_1': question 1 has choices .*by DSG"):
        score_tifa([{**ITEM, "questions": [asked]}], answers("yes"))


def test_the_mapping_sbert_says_which_package_it_lacks(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'selma\[sbert\]'") as caught:
        load_mapping("sbert", str(tmp_path), [ITEM], answers("2", "red"))
    assert caught.value.exit_code == 4
