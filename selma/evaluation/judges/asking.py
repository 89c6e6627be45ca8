"""Judges: models that look at a picture and answer questions about it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from selma.errors import BackendError, MissingDataError, RecordError

Row = Mapping[str, Any]


class Question(NamedTuple):
    """What is asked about a picture; no choices means yes or no."""

    question: str
    choices: tuple[str, ...]


class Judge(Protocol):
    """Answers questions about pictures."""

    def __call__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        questions: Sequence[Sequence[Question]],
    ) -> list[list[str]]:
        """Give one answer for each question of each picture.

        Args:
            pictures: N pictures, each (H, W, 3) uint8.
            questions: for each picture, what is asked about it.
        """


def pocket_judge(
    pictures: Sequence[NDArray[np.uint8]], questions: Sequence[Sequence[Question]]
) -> list[list[str]]:
    """Let the pocket world's judge look at the pixels."""
    from selma.pocket.judge import answer_questions

    return answer_questions(pictures, questions)


JUDGES: dict[str, Judge] = {"pocket": pocket_judge}


def judge_samples(
    benchmark: Sequence[Row],
    samples: Sequence[Row],
    judge: Judge,
    *,
    judge_name: str,
    revision: str,
    batch_size: int,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Ask a judge all the questions of a benchmark about a model's pictures.

    Each picture is decoded once and all its questions are asked together.

    Args:
        benchmark: rows of a benchmark table.
        samples: rows of a samples table, of the same benchmark.
        judge: answers the questions.
        judge_name: kept with each answer.
        revision: kept with each answer.
        batch_size: pictures at a time.
        advance: told how many pictures are done.

    Returns:
        Rows of an answers table.

    Raises:
        MissingDataError: an item has no picture, or fewer than the others.
        RecordError: a picture cannot be read or belongs to no item.
        BackendError: the judge did not answer every question.
    """
    questions = {row["item_id"]: row["questions"] for row in benchmark}
    check_samples(questions, samples)
    asked = [row for row in samples if questions[row["item_id"]]]
    rows = []
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        answers = _ask(judge, batch, [questions[row["item_id"]] for row in batch])
        for row, row_answers in zip(batch, answers, strict=True):
            for question, answer in zip(questions[row["item_id"]], row_answers, strict=True):
                rows.append(
                    {
                        "item_id": row["item_id"],
                        "sample": row["sample"],
                        "question_id": question["question_id"],
                        "raw_answer": answer,
                        "answer": answer,
                        "judge": judge_name,
                        "revision": revision,
                    }
                )
        advance(len(batch))
    return rows


def check_samples(item_ids: Mapping[str, object], samples: Sequence[Row]) -> None:
    """Check that there is each sample of each benchmark item, and no other picture.

    Raises:
        MissingDataError: pictures are missing.
        RecordError: a picture belongs to no item.
    """
    given = {(row["item_id"], row["sample"]) for row in samples}
    numbers = sorted({sample for _, sample in given}) or [0]
    wanted = {(item_id, number) for item_id in item_ids for number in numbers}
    missing, extra = sorted(wanted - given), sorted(given - wanted)
    if missing:
        raise MissingDataError(
            f"samples: {len(missing)} of {len(wanted)} pictures are missing, first of item "
            f"{missing[0][0]!r} sample {missing[0][1]}; run `dvc repro samples`"
        )
    if extra:
        raise RecordError(
            f"samples: {len(extra)} pictures belong to no benchmark item, first {extra[0][0]!r}; "
            "samples and benchmark must be of one version"
        )


def _ask(
    judge: Judge, samples: Sequence[Row], questions: Sequence[Sequence[Row]]
) -> list[list[str]]:
    from selma.evaluation.pixels import decode_png

    pictures = [decode_png(row["image"]["bytes"]) for row in samples]
    asked = [
        [Question(q["question"], tuple(q["choices"])) for q in picture] for picture in questions
    ]
    answers = judge(pictures, asked)
    got, want = [len(a) for a in answers], [len(q) for q in asked]
    if got != want:
        raise BackendError(f"the judge gave {sum(got)} answers to {sum(want)} questions")
    return answers
