"""Reads numbered lines and labelled fields out of an LLM's reply, whatever stands around them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from selma.core.errors import ReplyError

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_BULLET = re.compile(r"^[-*•–+]\s+")
_MARK = r"[*_`]*"
_ID = re.compile(
    rf"(?:(?:id|tuple|statement|dependency|question|q)\s*[:.]?\s*)?{_MARK}[#(\[]?(?P<id>\d{{1,3}})"
    rf"[)\]]?{_MARK}\s*(?P<separator>\||[:.)\]]|\s[-–—](?=\s)|\t){_MARK}\s*(?P<text>.*)",
    re.IGNORECASE,
)
_FIELD = re.compile(
    rf"(?:\(?\d{{1,3}}[.):]\s*)?{_MARK}(?P<name>[A-Za-z][A-Za-z ]*?){_MARK}\s*:{_MARK}\s*"
    rf"(?P<text>.*)"
)


@dataclass(frozen=True)
class Line:
    """A line of a reply without bullets, emphasis and table bars.

    Attributes:
        text: what it says, without its number.
        number: its number; None if it has none.
        bar: the number is set off by "|", as it was asked for.
    """

    text: str
    number: int | None
    bar: bool


def read_lines(reply: str) -> list[Line]:
    """Split a reply into lines, without blank lines, <think> thoughts and fences.

    Understood are ``1 | text``, ``1. text``, ``1) text``, ``(1) text``, ``1: text``, ``1 - text``,
    ``#1``, ``id 1``, ``Q1:``, the rows of a Markdown table, bullets, and bold anywhere. A line with
    no number that begins in lower case, or with a bracket, goes on with the numbered line before.
    """
    lines: list[Line] = []
    for text in _plain_lines(reply):
        line = _line(text)
        goes_on = line.number is None and re.match(r"[a-z(]", line.text)
        if goes_on and lines and lines[-1].number is not None and lines[-1].text[-1:] not in "?)":
            lines[-1] = Line(f"{lines[-1].text} {line.text}", lines[-1].number, lines[-1].bar)
        else:
            lines.append(line)
    return lines


def numbered_texts(reply: str, count: int) -> dict[int, str]:
    """Read a reply that has to tell something about each of the ids 1 to `count`.

    Where any line sets its number off with "|", the lines that do not are talk. An id told twice in
    the same words is told once.

    Raises:
        ReplyError: an id is not told, told twice in different words, or does not exist; keeps the
            raw reply.
    """
    lines = [line for line in read_lines(reply) if line.number is not None]
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
    """Read records of lines such as ``Question: …``; a new one begins where the first name comes.

    A record may lack names. The lines under a name that stands alone are joined with ", ", as a
    list of choices is. Other lines are talk.

    Args:
        reply: raw text.
        names: in lower case; the first begins a record.
    """
    records: list[dict[str, str]] = []
    waiting = ""
    for text in _plain_lines(reply):
        field = _FIELD.fullmatch(_BULLET.sub("", text, count=1))
        name = field["name"].strip().lower() if field else ""
        if field and name in names:
            if name == names[0] or not records:
                records.append({})
            records[-1].setdefault(name, _bare(field["text"]))
            waiting = "" if field["text"] else name
        elif waiting:
            item = re.sub(r"^\(?(?:[a-dA-D]|\d)[.)]\s*", "", _BULLET.sub("", text, count=1))
            known = records[-1][waiting]
            records[-1][waiting] = ", ".join(part for part in (known, _bare(item)) if part)
    return records


def without_repeats(texts: Iterable[str]) -> list[str]:
    """Keep the first of texts that are equal but for case."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(text.casefold(), text)
    return list(first.values())


def _plain_lines(reply: str) -> Iterator[str]:
    for raw in _THOUGHTS.sub("", reply).splitlines():
        line = raw.strip()
        if line and not line.startswith(("```", "---", "===")):
            yield line


def _line(text: str) -> Line:
    text = text.strip("|").strip() if text.startswith("|") else text
    text = _BULLET.sub("", text, count=1)
    numbered = _ID.fullmatch(text)
    if numbered:
        bar = numbered["separator"] == "|"
        return Line(_bare(numbered["text"]), int(numbered["id"]), bar)
    return Line(_bare(text), None, False)


def _bare(text: str) -> str:
    """Take off emphasis around the text, and single spaces for white space."""
    return " ".join(text.split()).strip("*_` ")
