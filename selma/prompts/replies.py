"""Reads the numbered list of prompts out of an LLM's reply, whatever stands around it."""

import re
from dataclasses import dataclass

from selma.core.errors import ReplyError

PROMPT_MAX_CHARACTERS = 1000
_NUMBER = re.compile(
    r"(?:[Pp]rompt\s*)?[#(\[]?(?P<number>\d{1,4})(?:\s*[.):\]]+|\s+[-–—])(?!\d)\s*(?P<text>.*)"
)
_BULLET = re.compile(r"[-*•–+]\s+(?P<text>\S.*)")
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


@dataclass
class _Item:
    """A list item or an unmarked line: `number` is None for all but numbered items."""

    text: str
    number: int | None
    marked: bool
    indent: int


def parse_reply(reply: str, expected: int) -> Parsed:
    """Read the prompts of a reply.

    Understood are ``1.``, ``1)``, ``(1)``, ``1:``, ``1 -``, ``Prompt 1:`` and bullets, also in
    bold; quotes and bold around a prompt or as its heading; blank lines; items wrapped over
    lines. A line without a number counts as an item only where the numbering leaves a gap for
    it. Talk around the list is no prompt.

    Args:
        reply: raw text.
        expected: how many prompts were asked for.

    Raises:
        ReplyError: there is no prompt in it; keeps the raw reply.
    """
    items = _items(reply)
    prompts: dict[str, str] = {}
    rejected = []
    for item, reason in zip(items, _places(items, expected), strict=True):
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


def _items(reply: str) -> list[_Item]:
    """Split into items; continuation lines are joined to theirs."""
    items: list[_Item] = []
    after_blank = True
    for raw in reply.expandtabs(4).splitlines():
        line = raw.strip()
        if not line:
            after_blank = True
            continue
        item = _item(line, len(raw) - len(raw.lstrip()))
        if items and (not after_blank or not items[-1].text) and _continues(items[-1], item):
            items[-1].text += " " + line
        else:
            items.append(item)
        after_blank = False
    return items


def _item(line: str, indent: int) -> _Item:
    bare = line
    for mark in ("**", "__"):
        opened = line.removeprefix(mark)
        if opened != line and re.match(r"[^*_]*\d{1,4}\s*[.):\]]*" + re.escape(mark), opened):
            bare = opened.replace(mark, "", 1)  # "**1.** text"
        elif opened != line and _NUMBER.fullmatch(opened):
            bare = opened.removesuffix(mark)  # "**1. text**"
    bullet = _BULLET.fullmatch(line)
    numbered = _NUMBER.fullmatch(bullet["text"] if bullet else bare)
    if numbered:
        return _Item(numbered["text"], int(numbered["number"]), True, indent)
    if bullet:
        return _Item(bullet["text"], None, True, indent)
    return _Item(line, None, False, indent)


def _continues(before: _Item, item: _Item) -> bool:
    if item.marked or not before.marked:
        return False
    if not before.text:
        return True  # a number alone on its line
    deeper = item.indent > before.indent
    return deeper or (item.text[0].islower() and bool(_OPEN_END.fullmatch(before.text)))


def _places(items: list[_Item], expected: int) -> list[str]:
    """Tell for each item why it is not part of the list; "" if it is."""
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
    for at, item in enumerate([*items, _Item("", expected + 1, True, 0)]):
        if item.number is not None:
            room = max(0, item.number - before - 1)
            nearest = waiting[-room:] if before == 0 else waiting[:room]
            for place in nearest if room else ():
                reasons[place] = ""
            before, waiting = item.number, []
        elif at in plain:
            waiting.append(at)
        elif item.marked:
            before += 1
    return reasons


def _clean(text: str) -> str:
    """Take off what is not the prompt: heading, quotes, emphasis, extra white space."""
    text = _HEADING.sub("", " ".join(text.split()), count=1)
    while True:
        inner = _unwrap(text)
        if inner == text:
            return text
        text = inner


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
