"""A judge's answers beside the questions they answer; what is missing or no answer is named."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selma.core.errors import MissingDataError, RecordError
from selma.metrics.replies import Reply

Row = Mapping[str, Any]
Key = tuple[str, int, int]  # item_id, sample, question_id


@dataclass(frozen=True)
class AnsweredPicture:
    """One picture of a benchmark item with what the judge said about it."""

    item_id: str
    sample: int
    source: str
    questions: Sequence[Row]  # the item's, as the benchmark table has them
    replies: Mapping[int, Reply]  # by question id; empty for an item that counts as unanswered

    def row(self, points: Sequence[float], weight: float, details: object) -> dict[str, Any]:
        return {
            "item_id": self.item_id,
            "sample": self.sample,
            "source": self.source,
            "score": sum(points) / len(points),
            "weight": weight,
            "details": json.dumps({"questions": details}, sort_keys=True, ensure_ascii=False),
        }


@dataclass(frozen=True)
class Answered:
    """All answered pictures of a benchmark, and what they leave out."""

    pictures: list[AnsweredPicture]  # sorted by item and sample
    n_wanted: int  # pictures that the benchmark's items with questions have
    left_out: tuple[tuple[str, int], ...]  # item and sample of the pictures that lack an answer
    unanswered: tuple[str, ...]  # items without any answer that count nevertheless, with 0
    judge: str
    revision: str


def join_answers(
    benchmark: Sequence[Row],
    answers: Sequence[Row],
    *,
    allow_partial: bool = False,
    counts_unanswered: Collection[str] = (),
) -> Answered:
    """Join answers, rows of an answers table, to the questions of a benchmark table's rows.

    Every item that has questions must have an answer to each of them, for the same samples as every
    other item; an item without questions is left out, for it has nothing to score. `allow_partial`
    leaves pictures out that lack an answer. Items of `counts_unanswered` count as pictures without
    a right answer if there is no answer to any of their questions.

    Raises MissingDataError if answers are missing, with their number and the first ones, and
    RecordError if an answer belongs to no question or two judges' answers are mixed.
    """
    items = {row["item_id"]: row for row in benchmark if row["questions"]}
    if not answers:
        asked = sum(len(item["questions"]) for item in items.values())
        raise MissingDataError(f"answers: {asked} of {asked} are missing; have them answered")
    replies = (Reply(a["answer"], a.get("raw_answer", a["answer"])) for a in answers)
    keys = ((a["item_id"], a["sample"], a["question_id"]) for a in answers)
    given: dict[Key, Reply] = dict(zip(keys, replies, strict=True))
    judge, revision = judge_of(answers)
    samples = sorted({row["sample"] for row in answers})
    answered_items = {item_id for item_id, _, _ in given}
    unanswered = sorted(set(counts_unanswered) & set(items) - answered_items)
    wanted = {
        (item_id, sample, question["question_id"])
        for item_id, item in items.items()
        for sample in samples
        for question in item["questions"]
    }
    missing = sorted(key for key in wanted - set(given) if key[0] not in unanswered)
    if missing and not allow_partial:
        raise MissingDataError(_missing(missing, wanted, items))
    extra = sorted(set(given) - wanted)
    if extra:
        raise RecordError(
            f"answers: {len(extra)} belong to no question of the benchmark ({_names(extra)}); "
            "answers and benchmark must be of one version"
        )
    left_out = sorted({(item_id, sample) for item_id, sample, _ in missing})
    pictures = [
        _picture(items[item_id], sample, given)
        for item_id in sorted(items)
        for sample in samples
        if (item_id, sample) not in set(left_out)
    ]
    if not pictures:
        raise MissingDataError("answers: no picture has an answer to all its questions")
    n_wanted = len(items) * len(samples)
    return Answered(pictures, n_wanted, tuple(left_out), tuple(unanswered), judge, revision)


def judge_of(answers: Sequence[Row]) -> tuple[str, str]:
    """Return name and revision of the one judge that gave all answers, or raise RecordError."""
    judges = sorted({(row["judge"], row["revision"]) for row in answers})
    if len(judges) != 1:
        names = ", ".join(f"{judge}@{revision}" for judge, revision in judges) or "none"
        raise RecordError(
            f"answers: expected those of one judge, got {names}; choose one of them, or have the "
            "questions answered"
        )
    return judges[0]


def describe(
    metric: str,
    version: str,
    policy: str,
    joined: Answered,
    judge_about: Mapping[str, Any] | None,
    is_no_answer: Callable[[Reply], bool],
    no_answer_max: float,
) -> dict[str, Any]:
    """Say what scores made from answers are, for the scores table.

    `policy` names every choice that the metric's definition (`version`) leaves open; `judge_about`
    is what the answers table says of its judge, None for a published file. RecordError: a larger
    share than `no_answer_max` of the replies is no answer.
    """
    judge = dict(judge_about or {})
    apart = ("benchmark_sha256", "libraries", "pictures", "preprocessing")
    pictures = judge.get("pictures", {"n_wanted": 0, "left_out": []})
    preprocessing = judge.get("preprocessing", "unknown: the answers were given")
    if not isinstance(preprocessing, str):
        preprocessing = json.dumps(preprocessing)
    n_wanted = max(joined.n_wanted, pictures["n_wanted"])
    return {
        "coverage": len(joined.pictures) / n_wanted,
        "factor": 100.0,
        "judge": joined.judge,
        "judge_settings": {name: value for name, value in judge.items() if name not in apart},
        "left_out": [
            *pictures["left_out"],
            *(f"without an answer: {item_id}/{sample}" for item_id, sample in joined.left_out),
        ],
        "libraries": judge.get("libraries", {}),
        "metric": metric,
        "n_items": len({picture.item_id for picture in joined.pictures}),
        "n_pictures": len(joined.pictures),
        "n_wanted": n_wanted,
        **_count_no_answers(joined.pictures, is_no_answer, no_answer_max),
        "policy": policy,
        "preprocessing": preprocessing,
        "revision": joined.revision,
        "unanswered_count_0": list(joined.unanswered),
        "unit": "percent",
        "version": version,
    }


def _count_no_answers(
    pictures: Sequence[AnsweredPicture], is_no_answer: Callable[[Reply], bool], most: float
) -> dict[str, Any]:
    replies = [
        (question["question"], picture.replies[question["question_id"]])
        for picture in pictures
        for question in picture.questions
        if question["question_id"] in picture.replies
    ]
    none = [(question, reply) for question, reply in replies if is_no_answer(reply)]
    share = len(none) / max(1, len(replies))
    if share > most:
        examples = " and ".join(f"{reply.raw[:80]!r} to {text!r}" for text, reply in none[:2])
        raise RecordError(
            f"answers: {len(none)} of {len(replies)} ({share:.1%}) are no answer, at most "
            f"{most:.1%} may be, e.g. {examples}; ask with another template, normaliser or judge"
        )
    return {"n_no_answer": len(none), "no_answer": share}


def _picture(item: Row, sample: int, given: Mapping[Key, Reply]) -> AnsweredPicture:
    item_id, asked = item["item_id"], [question["question_id"] for question in item["questions"]]
    replies = {q: given[item_id, sample, q] for q in asked if (item_id, sample, q) in given}
    return AnsweredPicture(item_id, sample, item["source"], item["questions"], replies)


def _missing(missing: Sequence[Key], wanted: Collection[Key], items: Mapping[str, Row]) -> str:
    """Say what is missing; whole sources without an answer are named, to be left out by choice."""
    lost = {item_id for item_id, _, _ in missing}
    here = {row["source"] for item_id, row in items.items() if item_id not in lost}
    absent = sorted({row["source"] for row in items.values()} - here)
    sources = f", choose sources that are ({', '.join(sorted(here))})" if absent and here else ""
    lacking = f"; no item is complete of: {', '.join(absent)}" if absent else ""
    return (
        f"answers: {len(missing)} of {len(wanted)} are missing ({_names(missing)}){lacking}; have "
        f"them answered{sources}, or allow a partial score"
    )


def _names(keys: Sequence[Key]) -> str:
    shown = ", ".join(f"item {i!r} sample {s} question {q}" for i, s, q in keys[:3])
    return shown + (", …" if len(keys) > 3 else "")
