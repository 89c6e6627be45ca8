"""The act of asking: a judge answers a benchmark's questions about a model's pictures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import BackendError
from selma.core.tables import content_hash
from selma.judges.answer_log import AnswerLog
from selma.judges.loading import describe_judge, judge_title, load_judge
from selma.judges.normalise import NORMALISERS
from selma.judges.protocol import Judge, JudgeSettings, Question
from selma.pictures.checks import PictureSet
from selma.pictures.png import picture_of

Row = Mapping[str, Any]


def ask(
    benchmark: Sequence[Row],
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
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Ask a judge all the questions of a benchmark about a model's pictures, resumably.

    Each picture is decoded once and all its questions are asked together.

    Args:
        benchmark: rows of a benchmark table.
        pictures: of its items, as `read_samples` found them fit.
        kind: a key of `JUDGES`.
        settings: of the judge's model, and how it is asked.
        revision: of a judge whose weights do not tell it.
        normalise: a key of `NORMALISERS`, from what the judge says to what counts as its answer;
            both are kept.
        batch_size: pictures at a time.
        log: keeps the answers while the judge works; those of an interrupted run are taken up.
        replies: where a judge that is paid for keeps each reply.
        advance: called with the number of pictures after each batch.

    Returns:
        Rows of an answers table, and what they are about.

    Raises:
        ConfigError: there is no such judge, template or normaliser.
        BackendError: the judge did not answer every question.
        RecordError: a picture cannot be read.
    """
    normal = choose("answer normaliser", normalise, NORMALISERS)
    judge = load_judge(kind, settings, replies)
    about = {
        **describe_judge(judge.about, settings),
        "benchmark_sha256": content_hash(benchmark, "benchmark"),
        "normalise": normalise,
    }
    kept = AnswerLog(log, about)
    questions = {row["item_id"]: row["questions"] for row in benchmark}
    asked = [row for row in pictures.rows if questions[row["item_id"]]]
    named = {"judge": judge_title(kind, about), "revision": about.get("revision") or revision}
    rows: list[dict[str, Any]] = []
    for start in range(0, len(asked), batch_size):
        batch = asked[start : start + batch_size]
        for row, answers in zip(batch, _answers(judge, batch, questions, kept), strict=True):
            rows += [
                {
                    "item_id": row["item_id"],
                    "sample": row["sample"],
                    "question_id": question["question_id"],
                    **named,
                    "sha256": row["sha256"],
                    "raw_answer": raw,
                    "answer": normal(raw),
                }
                for question, raw in zip(questions[row["item_id"]], answers, strict=True)
            ]
        advance(len(batch))
    seen = {"n_wanted": pictures.n_wanted, "left_out": pictures.findings.problems()}
    return rows, {**about, "pictures": seen}


def _answers(
    judge: Judge,
    batch: Sequence[Row],
    questions: Mapping[str, Sequence[Row]],
    kept: AnswerLog,
) -> list[list[str]]:
    """Answer each picture's questions: from the log, or by the judge, and then keep them."""
    found = [kept.get(_key(row)) for row in batch]
    new = [row for row, answers in zip(batch, found, strict=True) if answers is None]
    if not new:
        return [answers or [] for answers in found]
    asked = [
        [Question(q["question"], tuple(q["choices"])) for q in questions[row["item_id"]]]
        for row in new
    ]
    said = judge([picture_of(row) for row in new], asked)
    if [len(answers) for answers in said] != [len(texts) for texts in asked]:
        got, want = sum(map(len, said)), sum(map(len, asked))
        raise BackendError(f"the judge gave {got} answers to {want} questions")
    for row, answers in zip(new, said, strict=True):
        kept.put(_key(row), answers)
    fresh = iter(said)
    return [answers if answers is not None else next(fresh) for answers in found]


def _key(row: Row) -> tuple[str, int, str]:
    return row["item_id"], row["sample"], row["sha256"]
