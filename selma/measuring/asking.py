"""The act of asking: a judge answers a benchmark's questions about a model's pictures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import BackendError
from selma.core.shards import work_off
from selma.core.tables import content_hash
from selma.judges.answer_log import AnswerLog
from selma.judges.loading import describe_judge, judge_title, load_judge
from selma.judges.normalise import NORMALISERS
from selma.judges.protocol import Judge, JudgeSettings, Question
from selma.pictures.checks import PictureSet
from selma.pictures.png import picture_of

Row = Mapping[str, Any]
Rows = Sequence[Row]


def ask(
    benchmark: Rows,
    pictures: PictureSet,
    *,
    kind: str,
    settings: JudgeSettings,
    revision: str,
    normalise: str,
    batch_size: int,
    log: Path,
    replies: Path,
    advance: Callable[[int], None],
    judge: Judge | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Ask a judge all the questions of a benchmark about a model's pictures, resumably.

    Each picture is decoded once and all its questions are asked together.

    The kind is a key of `JUDGES`, `normalise` one of `NORMALISERS`; `revision` is that of a judge
    whose weights do not tell it. `log` keeps the answers while the judge works, those of an
    interrupted run are taken up, and several processes share the work; in `replies` a judge that is
    paid for keeps each reply. `advance` is called with the number of pictures of a batch. A `judge`
    of that kind and those settings may have been loaded before.

    Returns rows of an answers table, and what they are about.

    Raises:
        ConfigError: there is no such judge, template or normaliser.
        BackendError: the judge did not answer every question.
        RecordError: a picture cannot be read.
    """
    normal = choose("answer normaliser", normalise, NORMALISERS)
    judge = judge or load_judge(kind, settings, replies)
    made_by = {"benchmark_sha256": content_hash(benchmark, "benchmark"), "normalise": normalise}
    about = describe_judge(judge.about, settings) | made_by
    kept = AnswerLog(log, about)
    questions = {row["item_id"]: row["questions"] for row in benchmark}
    asked = [row for row in pictures.rows if questions[row["item_id"]]]
    named = {"judge": judge_title(kind, about), "revision": about.get("revision") or revision}
    batches = work_off(
        asked,
        batch_size,
        kept=lambda _, batch: kept.get_all(list(map(_key, batch))),
        make=lambda _, batch: _answers(judge, batch, questions, kept),
        advance=advance,
    )
    answered = [answers for batch in batches for answers in batch]
    rows = [
        {
            **{key: row[key] for key in ("item_id", "sample", "sha256")},
            **named,
            "question_id": question["question_id"],
            "raw_answer": raw,
            "answer": normal(raw),
        }
        for row, answers in zip(asked, answered, strict=True)
        for question, raw in zip(questions[row["item_id"]], answers, strict=True)
    ]
    seen = {"n_wanted": pictures.n_wanted, "left_out": pictures.findings.problems()}
    return rows, {**about, "pictures": seen}


def _answers(
    judge: Judge, batch: Rows, questions: Mapping[str, Rows], kept: AnswerLog
) -> list[list[str]]:
    """Answer each picture's questions: from the log, or by the judge, and then keep them."""
    found = [kept.get(_key(row)) for row in batch]
    new = [row for row, answers in zip(batch, found, strict=True) if answers is None]
    asked = [
        [Question(q["question"], tuple(q["choices"])) for q in questions[row["item_id"]]]
        for row in new
    ]
    said = judge([picture_of(row) for row in new], asked) if new else []
    if [len(answers) for answers in said] != [len(texts) for texts in asked]:
        got, want = sum(map(len, said)), sum(map(len, asked))
        raise BackendError(f"the judge gave {got} answers to {want} questions")
    for row, answers in zip(new, said, strict=True):
        kept.put(_key(row), answers)
    fresh = iter(said)
    return [answers if answers is not None else next(fresh) for answers in found]


def _key(row: Row) -> tuple[str, int, str]:
    return row["item_id"], row["sample"], row["sha256"]
