"""TIFA: the share of an item's multiple-choice questions a picture gets right.

Source: TIFA, arXiv 2303.11897. An item without questions is skipped, not scored 0.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selma.choices import choose
from selma.evaluation.answers import AnsweredPicture, Row, answered_pictures, judge_of

Mapper = Callable[[str, Sequence[str]], str]

VERSION = "arXiv 2303.11897"


def exact(answer: str, choices: Sequence[str]) -> str:
    """Take the answer as it is: one that is not among the choices cannot be right."""
    return answer


TIFA_MAPPINGS: dict[str, Mapper] = {"exact": exact}


def score_tifa(
    benchmark: Sequence[Row], answers: Sequence[Row], *, mapping: str
) -> list[dict[str, Any]]:
    """Score pictures by TIFA.

    A question scores 1 if its mapped answer is the key; a picture's score is the mean over its
    questions, in [0, 1].

    Args:
        benchmark: rows of a benchmark table.
        answers: rows of an answers table.
        mapping: a key of `TIFA_MAPPINGS`, from a free answer to a choice.

    Returns:
        Rows of a scores table; `details` is JSON with answer, key and score per question.

    Raises:
        ConfigError: there is no such mapping.
        MissingDataError: an answer is missing.
        RecordError: an answer belongs to no question.
    """
    mapper = choose("tifa mapping", mapping, TIFA_MAPPINGS)
    pictures = answered_pictures(benchmark, answers)
    about = {
        "judge": judge_of(answers),
        "metric": "tifa",
        "policy": f"{mapping} mapping",
        "version": VERSION,
        "weight": 1,
    }
    return [_row(picture, mapper, about) for picture in pictures]


def _row(picture: AnsweredPicture, mapper: Mapper, about: Mapping[str, object]) -> dict[str, Any]:
    questions = []
    for question in picture.questions:
        answer = mapper(picture.answers[question["question_id"]], question["choices"])
        questions.append(
            {
                "answer": answer,
                "category": question["category"],
                "key": question["answer"],
                "question_id": question["question_id"],
                "score": int(answer == question["answer"]),
            }
        )
    details = {**about, "questions": questions}
    return {
        "item_id": picture.item_id,
        "sample": picture.sample,
        "score": sum(question["score"] for question in questions) / len(questions),
        "details": json.dumps(details, sort_keys=True, ensure_ascii=False),
    }
