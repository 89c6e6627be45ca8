"""Reads answers that others have published, as if a judge of ours had written them.

They are our own Parquet, the CSV files that DSG's authors released (item_id, question_id, question,
answer, t2i_model, qg_model), or the JSON result of TIFA's package.
"""

import csv
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selma.core.choices import choose_name
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.tables import read_table

logger = logging.getLogger(__name__)
Row = Mapping[str, Any]
KINDS = {"parquet": "table", "csv": "released file", "json": "TIFA result"}
REQUIRED = ("item_id", "answer")
OTHER_TEXTS_MAX = 0.01  # share of answers whose question's wording may differ from the benchmark's
_CELL_MAX_CHARACTERS = 1 << 24  # runaway generations are long; the csv module's own limit is short


class _Given(NamedTuple):
    """An answer as a published file gives it; `number` is its question's, as text."""

    item_id: str
    number: str
    question: str | None
    raw_answer: str
    answer: str
    line: int = 0


def read_answers(
    path: Path,
    benchmark: Sequence[Row],
    *,
    metric: str,
    t2i_model: str | None,
    aliases: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Read an answers table (.parquet), a released CSV file (.csv) or a TIFA result (.json).

    `benchmark` has the rows of the one that was asked; answers to other items are left out when the
    item's source is not among the benchmark's. Of a file with several `qg_model` the rows of
    `metric`, "dsg" or "tifa", are meant, of several models' pictures those of `t2i_model`.
    `aliases` are other names of the benchmark's items, to their item_id.

    Returns rows of an answers table; a published file's judge is its name, the revision its
    SHA-256. Raises MissingDataError without the file, ConfigError if a model must be chosen or is
    not in it, and RecordError if the file is not of its layout or asks other questions.
    """
    kind = choose_name("kind of answer file", path.suffix.removeprefix("."), KINDS)
    if not path.exists():
        raise MissingDataError(f"{path}: no such file")
    if not path.is_file():
        raise ConfigError(f"{path}: is no file; expected answers")
    if t2i_model is not None and kind != "csv":
        raise ConfigError(
            f"{path}: a {KINDS[kind]} holds one model's answers; leave the model's name out"
        )
    if kind == "parquet":
        return read_table(path, "answers")
    if kind == "json":
        return _join(_tifa_answers(path, benchmark, aliases or {}), benchmark, path)
    return _join(_csv_answers(path, metric, t2i_model, aliases or {}), benchmark, path)


def _csv_answers(
    path: Path, metric: str, t2i_model: str | None, aliases: Mapping[str, str]
) -> list[_Given]:
    rows = _csv_rows(path)
    several = len({row.get("qg_model") for row in rows}) > 1
    rows = _one_value(rows, "qg_model", metric if several else None, path)
    rows = _one_value(rows, "t2i_model", t2i_model, path)
    return [
        _Given(
            item_id=aliases.get(row["item_id"], row["item_id"]),
            number=row.get("question_id", ""),
            question=row.get("question"),
            raw_answer=row["answer"],
            answer=row["answer"],
            line=row["line"],
        )
        for row in rows
    ]


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    """Read all cells as text, with the line each row ends on; an answer may hold line breaks."""
    csv.field_size_limit(_CELL_MAX_CHARACTERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            lacking = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if lacking or not {"question", "question_id"} & set(reader.fieldnames or ()):
                raise RecordError(
                    f"{path}: columns {', '.join(reader.fieldnames or ['none'])}; expected "
                    "item_id, answer and question_id or question, as in the released answer files"
                )
            rows: list[dict[str, Any]] = []
            for row in reader:
                if None in row or None in row.values():
                    raise RecordError(
                        f"{path}: line {reader.line_num}: expected {len(reader.fieldnames or ())} "
                        "cells, got another number; the file may be cut short"
                    )
                rows.append({**row, "line": reader.line_num})
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path}: not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise RecordError(f"{path}: holds no answers")
    return rows


def _one_value(
    rows: list[dict[str, Any]], column: str, wanted: str | None, path: Path
) -> list[dict[str, Any]]:
    """Keep the rows of one value of a column, which must be named if there are several."""
    counts = Counter(row[column] for row in rows if column in row)
    seen = ", ".join(f"{name} ({number} answers)" for name, number in sorted(counts.items()))
    if wanted is None and len(counts) > 1:
        raise ConfigError(f"{path}: holds several {column}: {seen}; choose one of them")
    if wanted is not None and wanted not in counts:
        raise ConfigError(f"{path}: no {column} {wanted!r}; it holds: {seen or 'no such column'}")
    return [row for row in rows if wanted is None or row[column] == wanted]


def _tifa_answers(path: Path, benchmark: Sequence[Row], aliases: Mapping[str, str]) -> list[_Given]:
    """Read `question_details`: free answers, and what its authors' mapping made of them.

    The log is keyed by question text, so a question that is asked twice has one answer there.
    """
    try:
        details = json.loads(path.read_text(encoding="utf-8"))["question_details"]
        logs = {
            (item_id, text): (log["free_form_vqa"], log["multiple_choice_vqa"])
            for item_id, asked in details.items()
            for text, log in asked.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path}: not a result of TIFA's package, which has question_details with "
            f"free_form_vqa and multiple_choice_vqa: {error!r}"
        ) from error
    ids = {aliases.get(item_id, item_id): item_id for item_id in details}
    given = [
        _Given(row["item_id"], str(question["question_id"]), text, *logs[ids[row["item_id"]], text])
        for row in benchmark
        for question in row["questions"]
        if (ids.get(row["item_id"]), text := question["question"]) in logs
    ]
    asked = {(one.item_id, one.question) for one in given}
    extra = sorted(
        (aliases.get(i, i), text) for i, text in logs if (aliases.get(i, i), text) not in asked
    )
    if extra:
        raise RecordError(
            f"{path}: {len(extra)} questions are not the benchmark's, first {extra[0]}; result and "
            "benchmark must be of one version"
        )
    return given


def _join(given: Sequence[_Given], benchmark: Sequence[Row], path: Path) -> list[dict[str, Any]]:
    """Find each answer's question: the one with its number and text, or with its text."""
    questions = {row["item_id"]: row["questions"] for row in benchmark}
    sources = {row["source"] for row in benchmark}
    known = {
        "sample": 0,
        "judge": path.stem,
        "revision": "sha256 " + hashlib.sha256(path.read_bytes()).hexdigest(),
        "sha256": "",
    }
    taken: dict[tuple[str, int], str] = {}
    reworded = repeated = elsewhere = 0
    rows = []
    for one in given:
        if one.item_id not in questions:
            if one.item_id.rpartition("_")[0] not in sources:
                elsewhere += 1
                continue
            raise RecordError(
                f"{path}: line {one.line}: item {one.item_id!r} is not in the benchmark; answers "
                "and benchmark must be of one version"
            )
        number, same_text = _question_id(one, questions[one.item_id], taken, path)
        if taken.get((one.item_id, number)) == one.answer:
            repeated += 1
            continue
        reworded += not same_text
        taken[one.item_id, number] = one.answer
        answer = {name: getattr(one, name) for name in ("item_id", "raw_answer", "answer")}
        rows.append({**known, **answer, "question_id": number})
    if reworded > OTHER_TEXTS_MAX * len(rows):
        raise RecordError(
            f"{path}: {reworded} of {len(rows)} answers belong to a question with another wording "
            "than the benchmark's; answers and benchmark must be of one version"
        )
    for count, words in (
        (elsewhere, "answers are about items of other sources"),
        (repeated, "answers stand there twice, alike"),
        (reworded, "questions are worded otherwise than in the benchmark"),
    ):
        if count:
            logger.warning("%s: %d %s", path, count, words)
    return rows


def _question_id(
    given: _Given, questions: Sequence[Row], taken: Mapping[tuple[str, int], str], path: Path
) -> tuple[int, bool]:
    """Find an answer's question, and tell whether the wording is the same."""
    item_id, text = given.item_id, given.question
    by_id = {question["question_id"]: question for question in questions}
    whole = re.fullmatch(r"\s*(\d+)(?:\.0+)?\s*", given.number)  # pandas writes 1 as 1.0
    number = int(whole[1]) if whole else None
    if number in by_id and (text is None or _plain(by_id[number]["question"]) == _plain(text)):
        found, same = number, True
    else:
        free = [q for q in questions if (item_id, q["question_id"]) not in taken]
        worded = [q["question_id"] for q in free if _plain(q["question"]) == _plain(text or "")]
        found, same = (worded[0], True) if worded else (number, False)
    again = (item_id, found) in taken and taken[item_id, found or 0] != given.answer
    if found is None or found not in by_id or again:
        raise RecordError(
            f"{path}: line {given.line}: item {item_id!r}: question {given.number!r} ({text!r}) is "
            f"not in the benchmark or answered twice; its questions are {sorted(by_id)}"
        )
    return found, same


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
