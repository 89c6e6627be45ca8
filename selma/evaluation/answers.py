"""A judge's answers laid beside the questions they answer; nothing missing, nothing extra."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selma.errors import MissingDataError, RecordError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class AnsweredPicture:
    """One picture of a benchmark item with all the item's questions answered.

    Attributes:
        item_id: the benchmark item.
        sample: which of its pictures.
        questions: the item's questions as the benchmark table has them.
        answers: per question id, what the judge said.
    """

    item_id: str
    sample: int
    questions: Sequence[Row]
    answers: Mapping[int, str]


def answered_pictures(benchmark: Sequence[Row], answers: Sequence[Row]) -> list[AnsweredPicture]:
    """Join answers to questions.

    Every item that has questions must have an answer to each of them, for the same samples as every
    other item; an item without questions is left out, for it has nothing to score.

    Args:
        benchmark: rows of a benchmark table.
        answers: rows of an answers table.

    Returns:
        Sorted by item and sample.

    Raises:
        MissingDataError: answers are missing; the message counts them and names the first ones.
        RecordError: an answer belongs to no question, or two judges' answers are mixed.
    """
    questions = {row["item_id"]: row["questions"] for row in benchmark if row["questions"]}
    given = {(a["item_id"], a["sample"], a["question_id"]): a["answer"] for a in answers}
    samples = sorted({row["sample"] for row in answers})
    wanted = {
        (item_id, sample, question["question_id"])
        for item_id, asked in questions.items()
        for sample in samples or [0]
        for question in asked
    }
    _check_coverage(wanted, set(given))
    judge_of(answers)
    return [
        AnsweredPicture(
            item_id,
            sample,
            asked,
            {q["question_id"]: given[item_id, sample, q["question_id"]] for q in asked},
        )
        for item_id, asked in sorted(questions.items())
        for sample in samples
    ]


def judge_of(answers: Sequence[Row]) -> str:
    """Name the one judge that gave all answers, as ``judge@revision``.

    Raises:
        RecordError: answers of several judges are mixed, or there are none.
    """
    judges = sorted({f"{row['judge']}@{row['revision']}" for row in answers})
    if len(judges) != 1:
        raise RecordError(
            f"answers: expected those of one judge, got {judges or 'none'}; run `dvc repro answers`"
        )
    return judges[0]


def _check_coverage(wanted: set[tuple[str, int, int]], given: set[tuple[str, int, int]]) -> None:
    missing, extra = sorted(wanted - given), sorted(given - wanted)
    if missing:
        raise MissingDataError(
            f"answers: {len(missing)} of {len(wanted)} are missing ({_names(missing)}); "
            "run `dvc repro answers`"
        )
    if extra:
        raise RecordError(
            f"answers: {len(extra)} belong to no question of the benchmark ({_names(extra)}); "
            "answers and benchmark must be of one version"
        )


def _names(keys: Sequence[tuple[str, int, int]]) -> str:
    shown = ", ".join(f"item {i!r} sample {s} question {q}" for i, s, q in keys[:3])
    return shown + (", …" if len(keys) > 3 else "")
