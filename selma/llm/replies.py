"""Reads an LLM's reply line by line: its numbers and bullets, however it writes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_BULLET = re.compile(r"[-*•–+]\s+(?P<text>\S.*)")
_NUMBER = re.compile(
    r"(?:(?:prompt|id|tuple|statement|dependency|question|q)\s*[:.]?\s*)?[#(\[]?(?P<number>\d{1,4})"
    r"(?P<separator>\s*[.):\]]+(?!\d(?![\d,\s]*$))|\s*\||\s+[-–—](?!\d)|\t)\s*(?P<text>.*)",
    re.IGNORECASE,
)  # no number is the 10 of "10:30 on a clock"
_EMPHASIS = ("**", "__", "*", "_", "`")


@dataclass(frozen=True)
class Line:
    """A line of a reply."""

    text: str  # without its bullet and number
    number: int | None
    marked: bool  # has a bullet or a number
    bar: bool  # its number is set off by "|"
    indent: int  # white space before it, in columns
    after_blank: bool  # begins the reply or follows a blank line


def read_lines(reply: str) -> Iterator[Line]:
    """Split a reply into lines, without blank lines, <think> thoughts, fences and rules.

    Understood are ``1. text``, ``1) text``, ``(1) text``, ``1: text``, ``1 - text``, ``1 | text``,
    ``#1``, ``Prompt 1:``, ``id 1``, ``Q1:``, rows of a Markdown table and bullets, also in bold.
    """
    after_blank = True
    for raw in _THOUGHTS.sub("", reply).splitlines():
        text = raw.strip()
        text = text.strip("| ") if text.startswith("|") else text
        if text and not text.startswith(("```", "---", "===")):
            indent = len(raw.expandtabs(4)) - len(raw.expandtabs(4).lstrip())
            yield _line(text, indent, after_blank)
        after_blank = not raw.strip()


def _line(text: str, indent: int, after_blank: bool) -> Line:
    bullet = _BULLET.fullmatch(text)
    inner = bullet["text"] if bullet else text
    numbered = _NUMBER.fullmatch(_without_emphasis(inner))
    if numbered:
        bar = "|" in numbered["separator"]
        return Line(numbered["text"], int(numbered["number"]), True, bar, indent, after_blank)
    return Line(inner, None, inner != text, False, indent, after_blank)


def _without_emphasis(text: str) -> str:
    """Take off the emphasis of a number ("**1.** text") or of a numbered line ("**1. text**")."""
    for mark in _EMPHASIS:
        opened = text.removeprefix(mark)
        if opened != text and re.match(r"[^*_`]*\d\s*[.):\]]*" + re.escape(mark), opened):
            return opened.replace(mark, "", 1)
        if opened != text and _NUMBER.fullmatch(opened):
            return opened.removesuffix(mark)
    return text
