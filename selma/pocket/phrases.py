"""Finds the noun phrases of a pocket caption, and which of their words describe the noun."""

import re
from typing import NamedTuple

from selma.pocket.captions import COUNT_WORDS, SHAPE_OF_NAME, SIZE_OF_WORD, any_of
from selma.pocket.scenes import BACKGROUNDS, COLOURS

Place = tuple[int, int]  # characters, from the first up to the second
_COUNTS = any_of(COUNT_WORDS.values())
_THING = re.compile(
    rf"\b(?:(?:an?|the|\d|{_COUNTS}) )?(?:(?P<size>{any_of(SIZE_OF_WORD)}) )?"
    rf"(?:(?P<colour>{any_of(COLOURS)}) )?(?P<noun>{any_of(SHAPE_OF_NAME)})\b",
    re.IGNORECASE,
)
_BACKGROUND = re.compile(
    rf"\b(?P<whole>(?:(?:a|the) )?(?:(?P<before>{any_of(BACKGROUNDS)}) )?(?P<noun>background))\b"
    rf"(?: is (?P<after>{any_of(BACKGROUNDS)})\b)?",
    re.IGNORECASE,
)


class NounPhrase(NamedTuple):
    """A phrase, its noun, and the words that describe it; a count or an article does not."""

    whole: Place
    noun: Place
    modifiers: tuple[Place, ...]


def find_phrases(caption: str) -> list[NounPhrase]:
    """Find things and the background, in the caption's order; other words are passed over."""
    things = [
        NounPhrase(found.span(), found.span("noun"), _said(found, "size", "colour"))
        for found in _THING.finditer(caption)
    ]
    grounds = [
        NounPhrase(found.span("whole"), found.span("noun"), _said(found, "before", "after"))
        for found in _BACKGROUND.finditer(caption)
    ]
    return sorted(things + grounds)


def _said(found: re.Match[str], *names: str) -> tuple[Place, ...]:
    return tuple(found.span(name) for name in names if found[name])
