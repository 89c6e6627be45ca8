"""Reads the numbered list of prompts out of an LLM's reply, whatever stands around it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from selma.core.errors import ReplyError
from selma.llm.replies import Line, read_lines

PROMPT_MAX_CHARACTERS = 1000
SCHEMA = {
    "type": "object", "required": ["prompts"], "additionalProperties": False,
    "properties": {"prompts": {"type": "array", "items": {"type": "string"}}},
}  # fmt: skip
_HEADING = re.compile(r"(?:\*\*|__)[^*_]{1,60}(?::(?:\*\*|__)|(?:\*\*|__):)\s+(?=\S)")
_CHATTER = re.compile(
    r"(?:sure|certainly|of course|absolutely|okay|ok|here (?:are|is)(?! an? )|here's|hope"
    r"|i (?:am|hope|can|cannot|will)|i'm|i'll|let me|feel free|note|as an ai|please|sorry"
    r"|unfortunately|would you|do you|thanks?)\b|.*\bprompts?\b|.*:$|.*\?$|[-=_*#~]{3,}$|```|#+ ",
    re.IGNORECASE,
)
_OPEN_END = re.compile(r".*(?:[,;(-]|\b(?:a|an|the|of|and|with|on|in|to|at|by|is|are|left|right))$")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`"}
_EMPHASIS = ("**", "__", "*", "_")


@dataclass(frozen=True)
class Rejected:
    """A line that gave no prompt, and why."""

    line: str
    reason: str


@dataclass(frozen=True)
class Parsed:
    """What a reply holds, in its order; no prompt twice."""

    prompts: tuple[str, ...]
    rejected: tuple[Rejected, ...]


def parse_reply(reply: str, expected: int) -> Parsed:
    """Read the prompts of a reply to a request for `expected` prompts; ReplyError if it has none.

    Understood are the lists of `selma.llm.replies`; quotes and bold around a prompt or as its
    heading; items wrapped over lines. A line without a number counts as an item only where the
    numbering leaves a gap for it. Talk around the list is no prompt. A reply that begins with a
    brace is JSON of `SCHEMA`.
    """
    if reply.lstrip().removeprefix("```json").lstrip().startswith("{"):
        items = _json_items(reply)
        places = [""] * len(items)
    else:
        items = _items(reply)
        places = _places(items, expected)
    prompts: dict[str, str] = {}
    rejected = []
    for item, reason in zip(items, places, strict=True):
        text = _clean(item.text)
        reason = reason or _unfit(text)
        if not reason and text.casefold() in prompts:
            reason = "repeated in the reply"
        if reason:
            rejected.append(Rejected(item.text, reason))
        else:
            prompts[text.casefold()] = text
    if not prompts:
        start = " ".join(reply.split())[:80]
        raise ReplyError(f"no list of prompts in the reply, it starts {start!r}", reply)
    return Parsed(tuple(prompts.values()), tuple(rejected))


def _json_items(reply: str) -> list[Line]:
    text = reply.strip().removeprefix("```json").removesuffix("```")
    try:
        prompts = json.loads(text)["prompts"]
        if not isinstance(prompts, list) or not all(isinstance(one, str) for one in prompts):
            raise TypeError
    except (ValueError, KeyError, TypeError) as error:
        wanted = 'expected JSON {"prompts": [text, …]}'
        raise ReplyError(f"{wanted}, got {' '.join(reply.split())[:80]!r}", reply) from error
    return [Line(one, None, True, False, 0, False) for one in prompts]


def _items(reply: str) -> list[Line]:
    items: list[Line] = []
    for line in read_lines(reply):
        if items and _continues(items[-1], line):
            items[-1] = replace(items[-1], text=f"{items[-1].text} {line.text}".strip())
        else:
            items.append(line)
    return items


def _continues(before: Line, line: Line) -> bool:
    if line.marked or not before.marked:
        return False
    if not before.text:
        return True  # a number on a line of its own
    deeper = line.indent > before.indent
    wrapped = deeper or (line.text[0].islower() and bool(_OPEN_END.fullmatch(before.text)))
    return wrapped and not line.after_blank


def _places(items: Sequence[Line], expected: int) -> list[str]:
    """Say for each item why it is not part of the list; "" if it is."""
    reasons = ["" if item.marked else "talk" for item in items]
    plain = {
        at for at, item in enumerate(items) if not item.marked and not _CHATTER.match(item.text)
    }
    if not any(item.marked for item in items):
        if 2 * len(plain) >= expected:
            for at in plain:
                reasons[at] = ""
        return reasons
    before, waiting = 0, list[int]()
    for at, (number, marked) in enumerate(
        [*((item.number, item.marked) for item in items), (expected + 1, True)]
    ):
        if number is not None:
            room = max(0, number - before - 1)
            nearest = waiting[-room:] if before == 0 else waiting[:room]
            for place in nearest if room else ():
                reasons[place] = ""
            before, waiting = number, []
        elif at in plain:
            waiting.append(at)
        elif marked:
            before += 1
    return reasons


def _clean(text: str) -> str:
    """Take off what is not the prompt: heading, quotes, emphasis, extra white space."""
    text = _HEADING.sub("", " ".join(text.split()), count=1)
    while (inner := _unwrap(text)) != text:
        text = inner
    return text


def _unwrap(text: str) -> str:
    for opening, closing in (*_QUOTES.items(), *((mark, mark) for mark in _EMPHASIS)):
        whole = len(text) > len(opening + closing)
        if whole and text.startswith(opening) and text.rstrip(",;").endswith(closing):
            inner = text.rstrip(",;")[len(opening) : -len(closing)]
            if opening not in inner and closing not in inner:
                return inner.strip()
    return text


def _unfit(text: str) -> str:
    if not re.search(r"[A-Za-z]", text):
        return "no English word"
    if len(text) > PROMPT_MAX_CHARACTERS:
        return f"longer than {PROMPT_MAX_CHARACTERS} characters"
    return ""
