"""DSG: the share of yes/no questions a picture gets right, given that their parents hold.

Source: Davidsonian Scene Graph, arXiv 2310.18235. Where it leaves a choice, the choice is named:
the filter is `policy`, the average over a benchmark is `mean`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selma.choices import choose
from selma.errors import RecordError
from selma.evaluation.answers import AnsweredPicture, Row, answered_pictures, judge_of

Scores = Mapping[int, int]  # question_id → 0 or 1, in the benchmark's order
Parents = Mapping[int, Sequence[int]]  # question_id → ids of its parents; 0 stands for none
Policy = Callable[[Scores, Parents], dict[int, int]]

VERSION = "arXiv 2310.18235"


def no_filter(raw: Scores, parents: Parents) -> dict[int, int]:
    """Keep every point: dependencies are ignored."""
    return dict(raw)


def official(raw: Scores, parents: Parents) -> dict[int, int]:
    """Take a question's point if any of its parents is wrong, as the package of DSG's authors does.

    Parents are judged on the raw scores: one level, the same in every order.
    """
    return {
        question: score if all(raw[p] for p in parents[question] if p != 0) else 0
        for question, score in raw.items()
    }


def selma(raw: Scores, parents: Parents) -> dict[int, int]:
    """Edit the scores in place in the benchmark's order, as SELMA's evaluation does.

    A point that is taken counts as a wrong parent for the questions after it, not for those before.
    Parents that do not exist are ignored.
    """
    filtered = dict(raw)
    for question in raw:
        if any(filtered.get(parent) == 0 for parent in parents[question]):
            filtered[question] = 0
    return filtered


def transitive(raw: Scores, parents: Parents) -> dict[int, int]:
    """Take a question's point if any ancestor is wrong; cycles are harmless."""

    def ancestors(question: int) -> set[int]:
        found: set[int] = set()
        waiting = list(parents[question])
        while waiting:
            parent = waiting.pop()
            if parent != 0 and parent not in found:
                found.add(parent)
                waiting += parents[parent]
        return found

    return {
        question: score if all(raw[a] for a in ancestors(question)) else 0
        for question, score in raw.items()
    }


DSG_POLICIES: dict[str, Policy] = {
    "none": no_filter,
    "official": official,
    "selma": selma,
    "transitive": transitive,
}


DSG_MEANS: dict[str, Callable[[int], int]] = {
    "prompt": lambda question_count: 1,
    "question": lambda question_count: question_count,
}


def score_dsg(
    benchmark: Sequence[Row], answers: Sequence[Row], *, policy: str, mean: str
) -> list[dict[str, Any]]:
    """Score pictures by DSG.

    A question scores 1 if its answer is exactly "yes". A picture's score is the mean of its
    filtered question scores, in [0, 1].

    Args:
        benchmark: rows of a benchmark table.
        answers: rows of an answers table.
        policy: a key of `DSG_POLICIES`.
        mean: a key of `DSG_MEANS`: "prompt" gives each prompt the same weight in a benchmark's
            mean, "question" each question; it is kept in the details as the row's weight.

    Returns:
        Rows of a scores table; `details` is JSON with the raw and the filtered score per question.

    Raises:
        ConfigError: there is no such policy or mean.
        MissingDataError: an answer is missing.
        RecordError: an answer belongs to no question, or a parent does not exist.
    """
    apply = choose("dsg policy", policy, DSG_POLICIES)
    weigh = choose("dsg mean", mean, DSG_MEANS)
    if policy != "selma":
        _check_parents(benchmark)
    pictures = answered_pictures(benchmark, answers)
    about = {
        "judge": judge_of(answers),
        "metric": "dsg",
        "policy": f"{policy}, {mean} mean",
        "version": VERSION,
    }
    return [_row(picture, apply, weigh(len(picture.questions)), about) for picture in pictures]


def _row(
    picture: AnsweredPicture, apply: Policy, weight: int, about: Mapping[str, str]
) -> dict[str, Any]:
    raw = {question: int(answer == "yes") for question, answer in picture.answers.items()}
    filtered = apply(raw, {q["question_id"]: q["parents"] for q in picture.questions})
    questions = [
        {
            "category": q["category"],
            "filtered": filtered[q["question_id"]],
            "question_id": q["question_id"],
            "raw": raw[q["question_id"]],
        }
        for q in picture.questions
    ]
    details = {**about, "questions": questions, "weight": weight}
    return {
        "item_id": picture.item_id,
        "sample": picture.sample,
        "score": sum(filtered.values()) / len(filtered),
        "details": json.dumps(details, sort_keys=True, ensure_ascii=False),
    }


def _check_parents(benchmark: Sequence[Row]) -> None:
    for row in benchmark:
        known = {0, *(question["question_id"] for question in row["questions"])}
        for question in row["questions"]:
            lost = sorted(set(question["parents"]) - known)
            if lost:
                raise RecordError(
                    f"benchmark item {row['item_id']!r}: question {question['question_id']} names "
                    f"parents {lost} that the item does not have; its ids are {sorted(known - {0})}"
                )
