"""Asks a judge all questions of a benchmark about a model's pictures, resumably."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from selma.core.errors import BackendError, MissingDataError, RecordError
from selma.judges.protocol import Judge, Question

Row = Mapping[str, Any]


class AnswerStore(Protocol):
    """Keeps the answers about each picture while a judge is at work; see `store`."""

    def get(self, item_id: str, sample: int, sha256: str) -> list[str] | None:
        """Give the answers about a picture that were kept, in the order of its questions."""
        ...

    def put(self, item_id: str, sample: int, sha256: str, answers: Sequence[str]) -> None:
        """Keep the answers about a picture for good."""
        ...


def judge_samples(
    benchmark: Sequence[Row],
    samples: Sequence[Row],
    judge: Judge,
    *,
    judge_name: str,
    revision: str,
    batch_size: int,
    normalise: Callable[[str], str],
    advance: Callable[[int], None],
    store: AnswerStore | None = None,
    allow_partial: bool = False,
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
        normalise: from what the judge said to what counts as its answer; both are kept.
        advance: told how many pictures are done.
        store: answers of an earlier run are taken from it, new ones are kept in it.
        allow_partial: pictures may be missing.

    Returns:
        Rows of an answers table.

    Raises:
        MissingDataError: an item has no picture, or fewer than the others.
        RecordError: a picture cannot be read or belongs to no item.
        BackendError: the judge did not answer every question.
    """
    questions = {row["item_id"]: row["questions"] for row in benchmark}
    check_samples(questions, samples, allow_partial=allow_partial)
    asked = [row for row in samples if questions[row["item_id"]]]
    rows: list[dict[str, Any]] = []
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        known = {id(row): store.get(*_key(row)) if store else None for row in batch}
        new = [row for row in batch if known[id(row)] is None]
        said = _ask(judge, new, [questions[row["item_id"]] for row in new]) if new else []
        for row, answers in zip(new, said, strict=True):
            known[id(row)] = answers
            if store:
                store.put(*_key(row), answers)
        for row in batch:
            for question, raw in zip(questions[row["item_id"]], known[id(row)] or (), strict=True):
                rows.append(
                    {
                        "item_id": row["item_id"],
                        "sample": row["sample"],
                        "question_id": question["question_id"],
                        "judge": judge_name,
                        "revision": revision,
                        "sha256": row["sha256"],
                        "raw_answer": raw,
                        "answer": normalise(raw),
                    }
                )
        advance(len(batch))
    return rows


def check_samples(
    questions: Mapping[str, Sequence[Row]], samples: Sequence[Row], *, allow_partial: bool = False
) -> None:
    """Check that there is each sample of each item with questions, and no picture of no item.

    Raises:
        MissingDataError: pictures are missing, and `allow_partial` does not let them.
        RecordError: a picture belongs to no item.
    """
    given = {(row["item_id"], row["sample"]) for row in samples}
    numbers = sorted({sample for _, sample in given}) or [0]
    wanted = {(item, number) for item, asked in questions.items() if asked for number in numbers}
    missing = sorted(wanted - given)
    extra = sorted(key for key in given if key[0] not in questions)
    if missing and not allow_partial:
        raise MissingDataError(
            f"samples: {len(missing)} of {len(wanted)} pictures are missing, first of item "
            f"{missing[0][0]!r} sample {missing[0][1]}; have them drawn (`dvc repro samples`)"
        )
    if extra:
        raise RecordError(
            f"samples: {len(extra)} pictures belong to no benchmark item, first {extra[0][0]!r}; "
            "samples and benchmark must be of one version"
        )


def _key(row: Row) -> tuple[str, int, str]:
    return row["item_id"], row["sample"], row["sha256"]


def _ask(
    judge: Judge, samples: Sequence[Row], questions: Sequence[Sequence[Row]]
) -> list[list[str]]:
    from selma.pictures.png import picture_of

    pictures = [picture_of(row) for row in samples]
    asked = [
        [Question(q["question"], tuple(q["choices"])) for q in picture] for picture in questions
    ]
    answers = judge(pictures, asked)
    got, want = [len(a) for a in answers], [len(q) for q in asked]
    if got != want:
        raise BackendError(f"the judge gave {sum(got)} answers to {sum(want)} questions")
    return answers
