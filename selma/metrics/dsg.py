"""DSG (arXiv 2310.18235): the share of yes/no questions a picture gets right whose parents hold.

Where DSG leaves a choice, the choice is named: the filter is `policy`, the average over a benchmark
is `mean`. Dependency cells are read as each policy's authors read them, which decides the last
digits on DSG-1k.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from selma.core.choices import choose
from selma.core.errors import RecordError
from selma.metrics.answers import AnsweredPicture, Row, describe, join_answers
from selma.metrics.replies import is_not_yes_or_no

Scores = Mapping[int, int]  # question_id → 0 or 1, in the benchmark's order
Cells = Mapping[int, str]  # question_id → its dependency cell, e.g. "1,2"; "0" stands for none
Policy = Callable[[Scores, Cells], dict[int, int]]

VERSION = "arXiv 2310.18235"
# DSG-1k lost this item's first question, so no answers were released; its authors count it 0.
UNANSWERED_ITEMS = ("tifa160_134",)


def no_filter(raw: Scores, cells: Cells) -> dict[int, int]:
    """Keep every point: dependencies are ignored."""
    return dict(raw)


def official(raw: Scores, cells: Cells) -> dict[int, int]:
    """Take a question's point if any of its parents is wrong, as the package of DSG's authors does.

    Parents are judged on the raw scores: one level, the same in every order. One cell that is no
    list of integers, and nothing is filtered in the whole prompt.
    """
    parents = {question: _parents(cells[question]) for question in raw}
    if any(found is None for found in parents.values()):
        return dict(raw)
    return _keep_points(raw, {question: found or () for question, found in parents.items()})


def lenient(raw: Scores, cells: Cells) -> dict[int, int]:
    """Filter as `official`, but skip the unreadable parts of a cell and use the others."""
    return _keep_points(raw, {question: _readable_parents(cells[question]) for question in raw})


def selma(raw: Scores, cells: Cells) -> dict[int, int]:
    """Edit the scores in place in the benchmark's order, as SELMA's evaluation does.

    A point that is taken counts as a wrong parent for the questions after it, not for those before.
    The parts of a cell are compared as text, blanks included; what names no question is ignored.
    """
    filtered = {str(question): score for question, score in raw.items()}
    for question in filtered:
        if any(filtered.get(part) == 0 for part in cells[int(question)].split(",")):
            filtered[question] = 0
    return {int(question): score for question, score in filtered.items()}


def transitive(raw: Scores, cells: Cells) -> dict[int, int]:
    """Take a question's point if any ancestor is wrong; cycles are harmless.

    Unreadable parts of a cell are skipped, as in `lenient`.
    """
    parents = {question: _readable_parents(cells[question]) for question in raw}

    ancestors: dict[int, set[int]] = {}
    for question in raw:
        waiting, found = list(parents[question]), set[int]()
        while waiting:
            parent = waiting.pop()
            if parent not in found:
                found.add(parent)
                waiting += parents.get(parent, ())
        ancestors[question] = found
    return _keep_points(raw, ancestors)


DSG_POLICIES: dict[str, Policy] = {
    "official": official,
    "lenient": lenient,
    "selma": selma,
    "transitive": transitive,
    "none": no_filter,
}
DSG_MEANS: dict[str, Callable[[int], int]] = {
    "prompt": lambda question_count: 1,
    "question": lambda question_count: question_count,
}


def score_dsg(
    benchmark: Sequence[Row],
    answers: Sequence[Row],
    *,
    policy: str,
    mean: str,
    no_answer_max: float,
    judge_about: Mapping[str, Any] | None = None,
    allow_partial: bool = False,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Score pictures by DSG, from rows of a benchmark table and one judge's answers.

    A question scores 1 if its answer is exactly "yes". A picture's score is the mean of its
    filtered question scores, in [0, 1]. A parent that does not exist is wrong, but for the policy
    "selma", which ignores it. Items of `UNANSWERED_ITEMS` without any answer score 0.

    Args:
        benchmark: rows of a benchmark table.
        answers: rows of an answers table, of one judge.
        policy: a key of `DSG_POLICIES`.
        mean: a key of `DSG_MEANS`, which sets the rows' weight: "prompt" gives each prompt the same
            weight in a benchmark's mean, "question" each question.
        no_answer_max: the share of replies that may be neither "yes" nor "no".
        judge_about: what the answers table says of its judge.
        allow_partial: leave pictures out that lack an answer, instead of refusing.

    Returns rows of a scores table, whose `details` have each question's raw and filtered score, and
    what the table is about. Raises ConfigError for an unknown policy or mean, else as
    `join_answers` and `describe`.
    """
    apply = choose("dsg policy", policy, DSG_POLICIES)
    weigh = choose("dsg mean", mean, DSG_MEANS)
    for row in benchmark:
        for question in row["questions"]:
            if question["answer"] != "yes" or set(question["choices"]) - {"yes", "no"}:
                raise RecordError(
                    f"benchmark item {row['item_id']!r}: question {question['question_id']} is "
                    f"multiple choice ({question['choices']}, {question['answer']!r}); score it by "
                    "TIFA, DSG asks for yes"
                )
    joined = join_answers(
        benchmark, answers, allow_partial=allow_partial, counts_unanswered=UNANSWERED_ITEMS
    )
    rows = [_row(picture, apply, weigh(len(picture.questions))) for picture in joined.pictures]
    choices = f"{policy}, {mean} mean"
    return rows, describe(
        "dsg", VERSION, choices, joined, judge_about, is_not_yes_or_no, no_answer_max
    )


def _row(picture: AnsweredPicture, apply: Policy, weight: int) -> dict[str, Any]:
    right = {number for number, reply in picture.replies.items() if reply.answer == "yes"}
    raw = {q["question_id"]: int(q["question_id"] in right) for q in picture.questions}
    filtered = apply(raw, {q["question_id"]: q["dependency"] for q in picture.questions})
    details = [
        {
            "category": q["category"],
            "filtered": filtered[q["question_id"]],
            "question_id": q["question_id"],
            "raw": raw[q["question_id"]],
        }
        for q in picture.questions
    ]
    return picture.row(list(filtered.values()), float(weight), details)


def _keep_points(raw: Scores, parents: Mapping[int, Collection[int]]) -> dict[int, int]:
    return {
        question: score if all(raw.get(parent, 0) for parent in parents[question]) else 0
        for question, score in raw.items()
    }


def _parents(cell: str) -> tuple[int, ...] | None:
    """Read a cell as a list of integers without 0; None if it is none."""
    try:
        return tuple(number for number in map(int, cell.split(",")) if number != 0)
    except ValueError:
        return None


def _readable_parents(cell: str) -> tuple[int, ...]:
    parts = (_parents(part) for part in cell.split(","))
    return tuple(number for found in parts for number in found or ())
