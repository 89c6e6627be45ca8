"""Reads a pocket caption back into the Description that it was written from."""

import re

from selma.pocket.captions import (
    COUNT_WORDS,
    RELATION_OF_PHRASE,
    SHAPE_OF_NAME,
    SIZE_OF_WORD,
    Description,
    Group,
    Link,
    any_of,
)
from selma.pocket.scenes import BACKGROUNDS, COLOURS

_COUNTS = {word: count for count, word in COUNT_WORDS.items()}
_BACKGROUND = re.compile(
    rf"\b(?:(?P<before>{any_of(BACKGROUNDS)}) background"
    rf"|background is (?P<after>{any_of(BACKGROUNDS)}))\b"
)
_PART = re.compile(
    rf"\b(?:(?P<number>an?|the|\d|{any_of(_COUNTS)}) (?:(?P<size>{any_of(SIZE_OF_WORD)}) )?"
    rf"(?:(?P<colour>{any_of(COLOURS)}) )?(?P<kind>{any_of(SHAPE_OF_NAME)})"
    rf"|(?P<relation>{any_of(RELATION_OF_PHRASE)})(?P<it> it)?)\b"
)
# All words that the forms in `captions` put around things, relations and background.
_AROUND = frozenset(
    re.findall(
        r"\w+",
        "a against also an and are art behind beside can clean design drawing edges exactly flat "
        "here icon image imagine in is it just minimal next of on picture placed scene see set "
        "shapes showing shows simple strange style surprising the there this to unusual vector we "
        "with",
    )
)


def read_caption(caption: str) -> Description | None:
    """Understand a caption; the inverse of `skills.write_prompt` for every Description it draws.

    None if the caption has words that the pocket world's captions do not use, or no thing.
    """
    text = " ".join(caption.lower().split())
    background = _BACKGROUND.search(text)
    if background:
        text = text[: background.start()] + text[background.end() :]
    parts = list(_PART.finditer(text))
    around = re.findall(r"[a-z0-9]+", _PART.sub(" ", text))
    groups = [_group(part) for part in parts if _is_new(part)]
    links = _links(parts)
    if not groups or links is None or not set(around) <= _AROUND:
        return None
    if any(part["it"] for part in parts):
        groups = groups[::-1]  # "a star with a ring above it" is about the ring
    colour = (background["before"] or background["after"]) if background else None
    return Description(tuple(groups), tuple(links), colour)


def _is_new(part: re.Match[str]) -> bool:
    return part["kind"] is not None and part["number"] != "the"


def _group(part: re.Match[str]) -> Group:
    number = part["number"]
    count = int(number) if number.isdecimal() else _COUNTS.get(number, 1)
    size = SIZE_OF_WORD[part["size"]] if part["size"] else None
    return Group(SHAPE_OF_NAME[part["kind"]], part["colour"], size, count)


def _links(parts: list[re.Match[str]]) -> list[Link] | None:
    """Read who stands where to whom; None if a relation lacks one of its two things."""
    shapes = [SHAPE_OF_NAME[part["kind"]] for part in parts if _is_new(part)]
    links = []
    for at, part in enumerate(parts):
        if part["relation"] is None:
            continue
        around = [parts[at + step] if 0 <= at + step < len(parts) else None for step in (-1, 1, 2)]
        before, after, third = (
            SHAPE_OF_NAME.get(near["kind"] or "") if near else None for near in around
        )
        if part["it"]:
            first, second = (shapes[-1], shapes[0]) if len(shapes) == 2 else (None, None)
        elif around[1] and around[1]["number"] == "the":
            first, second = third, after  # "above the star there is a ring"
        else:
            first, second = before, after  # "a ring above a star"
        if first not in shapes or second not in shapes:
            return None
        order = shapes[::-1] if part["it"] else shapes
        relation = RELATION_OF_PHRASE[part["relation"]]
        links.append(Link(order.index(first), relation, order.index(second)))
    return links
