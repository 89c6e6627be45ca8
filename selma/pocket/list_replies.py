"""Replies that hold a list, in the styles of LLMs, and the ways in which they are spoilt."""

import random
from collections.abc import Callable
from dataclasses import dataclass

_QUOTES = ('"', '"', "'")
_BRACKETS = ("()", "()", "[]")
_STARTS = ("", "", "", "Let me think step by step. ", "First, what is asked for. ")
_ENDS = ("", "", "", "", "\n\nLet me know if something else should change.")
_TITLES = ("{}:", "{}:", "{}:", "**{}:**")

Entries = list[tuple[str, list[object]]]  # names with attributes, or with a box


@dataclass(frozen=True)
class Content:
    """What a reply says: in free words, in a list, in lines after it."""

    thoughts: str
    entries: Entries
    lines: list[str]


class ListReply:
    """A reply in the making, written in one of the styles of LLMs."""

    def __init__(self, title: str, content: Content, rng: random.Random) -> None:
        """Draw how it is written; `title` stands before the list."""
        self.thoughts = rng.choice(_STARTS) + content.thoughts
        self.title = rng.choice(_TITLES).format(title)
        self.entries, self.lines = list(content.entries), list(content.lines)
        self.quote, self.brackets = rng.choice(_QUOTES), rng.choice(_BRACKETS)
        self.end = rng.choice(_ENDS)

    def items(self) -> list[str]:
        """Write each entry of the list."""
        opening, closing = self.brackets[0], self.brackets[1]
        return [
            f"{opening}{self.value(name)}, [{', '.join(map(self.value, values))}]{closing}"
            for name, values in self.entries
        ]

    def value(self, value: object) -> str:
        if isinstance(value, str):
            return f"{self.quote}{value}{self.quote}"
        return "null" if value is None and self.brackets == "[]" else repr(value)

    def text(self) -> str:
        listed = f"[{', '.join(self.items())}]"
        return "\n".join([self.thoughts, f"{self.title} {listed}", *self.lines]) + self.end


Spoil = Callable[[ListReply, random.Random], str]


def _cut_off(reply: ListReply, rng: random.Random) -> str:
    """End in the middle of the list, as at a limit of tokens."""
    whole = reply.text()
    start = whole.index(reply.title) + len(reply.title)
    end = whole.index("]", start) if "]" in whole[start:] else len(whole)
    return whole[: rng.randint(start, end)]


def _without_title(reply: ListReply, rng: random.Random) -> str:
    reply.title = "The picture should have"
    return reply.text()


def _in_prose(reply: ListReply, rng: random.Random) -> str:
    names = ", ".join(name for name, _ in reply.entries) or "nothing"
    return f"{reply.thoughts}\nSo the list is {names}."


def _with_values(change: Callable[[list[object]], list[object]]) -> Spoil:
    """Spoil what stands behind the name of one entry; without entries, cut off."""

    def spoil(reply: ListReply, rng: random.Random) -> str:
        if not reply.entries:
            return _cut_off(reply, rng)
        place = rng.randrange(len(reply.entries))
        name, values = reply.entries[place]
        reply.entries[place] = (name, change(values))
        return reply.text()

    return spoil


def _with_name(change: Callable[[str], str]) -> Spoil:
    def spoil(reply: ListReply, rng: random.Random) -> str:
        if not reply.entries:
            return _cut_off(reply, rng)
        place = rng.randrange(len(reply.entries))
        name, values = reply.entries[place]
        reply.entries[place] = (change(name), values)
        return reply.text()

    return spoil


def _twice(reply: ListReply, rng: random.Random) -> str:
    if not reply.entries:
        return _cut_off(reply, rng)
    reply.entries.append(rng.choice(reply.entries))
    return reply.text()


def _without_background(reply: ListReply, rng: random.Random) -> str:
    reply.lines = reply.lines[1:]
    return reply.text()


_SPOILT: tuple[Spoil, ...] = (_cut_off, _without_title, _in_prose)
# Ways to spoil a reply so that its reader refuses it.
SPOILT_SCENES: tuple[Spoil, ...] = (
    *_SPOILT,
    _without_background,
    _with_values(lambda attributes: []),
    _with_name(lambda noun: f"{noun} #1"),
)
SPOILT_LAYOUTS: tuple[Spoil, ...] = (
    *_SPOILT,
    _twice,
    _with_values(lambda box: box[:3]),
    _with_values(lambda box: [f"{value}" for value in box]),
    _with_values(lambda box: [*box[:2], 0.0, 0.0]),
    _with_values(lambda box: [1.2, *box[1:]]),
    _with_name(lambda name: name.split(" #")[0]),
)
