"""Reads numbered lines and labelled fields out of an LLM's reply, whatever stands around them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from selma.core.errors import ReplyError
from selma.llm.replies import Line, read_lines

_MARK = r"[*_`]*"
_FIELD = re.compile(rf"{_MARK}(?P<name>[A-Za-z][A-Za-z ]*?){_MARK}\s*:{_MARK}\s*(?P<text>.*)")
_LETTER = re.compile(r"\(?[a-dA-D][.)]\s*")


def joined_lines(reply: str) -> list[Line]:
    """Read a reply's lines, without emphasis; wrapped ones are joined.

    A line with no number that begins in lower case, or with a bracket, goes on with the numbered
    line before.
    """
    lines: list[Line] = []
    for line in read_lines(reply):
        line = replace(line, text=_bare(line.text))
        goes_on = line.number is None and re.match(r"[a-z(]", line.text)
        if goes_on and lines and lines[-1].number is not None and lines[-1].text[-1:] not in "?)":
            lines[-1] = replace(lines[-1], text=f"{lines[-1].text} {line.text}")
        else:
            lines.append(line)
    return lines


def numbered_texts(reply: str, count: int) -> dict[int, str]:
    """Read a reply that has a line for each of the ids 1 to `count`.

    Where any line sets its number off with "|", the lines that do not are talk. ReplyError if an id
    is missing, does not exist, or comes twice with different words.
    """
    lines = [line for line in joined_lines(reply) if line.number is not None]
    if any(line.bar for line in lines):
        lines = [line for line in lines if line.bar]
    texts: dict[int, str] = {}
    for line in lines:
        assert line.number is not None
        if not 1 <= line.number <= count:
            raise ReplyError(f"it has a line for id {line.number}, ids are 1 to {count}", reply)
        if texts.setdefault(line.number, line.text) != line.text:
            raise ReplyError(f"it has two different lines for id {line.number}", reply)
    missing = [str(number) for number in range(1, count + 1) if number not in texts]
    if missing:
        raise ReplyError(f"it has no line for id {', '.join(missing)}", reply)
    return texts


def labelled_records(reply: str, names: Sequence[str]) -> list[dict[str, str]]:
    """Read records of lines such as ``Question: …``; `names`, in lower case, has the fields.

    A new record begins where the first name comes; it may lack names. The lines under a name
    without text are joined with ", ", as a list of choices is. Other lines are talk.
    """
    records: list[dict[str, str]] = []
    waiting = ""
    for line in read_lines(reply):
        field = _FIELD.fullmatch(line.text)
        name = field["name"].strip().lower() if field else ""
        if field and name in names:
            if name == names[0] or not records:
                records.append({})
            records[-1].setdefault(name, _bare(field["text"]))
            waiting = "" if field["text"] else name
        elif waiting:
            parts = records[-1][waiting], _bare(_LETTER.sub("", line.text, count=1))
            records[-1][waiting] = ", ".join(filter(None, parts))
    return records


def without_repeats(texts: Iterable[str]) -> list[str]:
    """Keep the first of texts that are equal but for case."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(text.casefold(), text)
    return list(first.values())


def _bare(text: str) -> str:
    """Take off emphasis around the text, and single spaces for white space."""
    return " ".join(text.split()).strip("*_` ")
