"""What each skill's prompts are about: draws Descriptions; names the pairs pictures avoid."""

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from selma.pocket.captions import WRITERS, Description, Group, Link
from selma.pocket.scenes import BACKGROUNDS, COLOURS, MAX_OBJECTS, RADII_PX, RELATIONS, SHAPES

_COLOUR_NAMES = tuple(COLOURS)


def _pairs(*offsets: int) -> frozenset[tuple[str, str]]:
    return frozenset(
        (shape, _COLOUR_NAMES[(index + offset) % len(_COLOUR_NAMES)])
        for index, shape in enumerate(SHAPES)
        for offset in offsets
    )


FAVOURED_PAIRS = _pairs(0, 1)  # (shape, colour) that the training pictures show too often
AVOIDED_PAIRS = _pairs(3, 6)  # (shape, colour) that the training pictures hardly show


def _maybe(values: Iterable[str], share: float, rng: random.Random) -> str | None:
    return rng.choice(tuple(values)) if rng.random() < share else None


_background, _size = partial(_maybe, BACKGROUNDS), partial(_maybe, RADII_PX)


def _distinct(number: int, rng: random.Random) -> list[tuple[str, str]]:
    """Draw (shape, colour) pairs with no shape and no colour twice: names are unambiguous."""
    shapes, colours = rng.sample(SHAPES, number), rng.sample(_COLOUR_NAMES, number)
    return list(zip(shapes, colours, strict=True))


def _draw_things(
    numbers: Sequence[int], sizes: float, backgrounds: float, rng: random.Random
) -> Description:
    groups = [Group(s, c, _size(sizes, rng)) for s, c in _distinct(rng.choice(numbers), rng)]
    return Description(tuple(groups), background=_background(backgrounds, rng))


def draw_count(rng: random.Random) -> Description:
    """Two to four alike, sometimes with another kind beside them."""
    count = rng.randint(2, MAX_OBJECTS)
    pairs = _distinct(2, rng)
    groups = [Group(*pairs[0], _size(0.25, rng), count)]
    if count < MAX_OBJECTS and rng.random() < 0.35:
        groups.append(Group(*pairs[1], None, rng.randint(1, MAX_OBJECTS - count)))
    return Description(tuple(groups), background=_background(0.35, rng))


def draw_counterfactual(rng: random.Random) -> Description:
    """One or two things whose colour the training pictures avoid for that shape."""
    pairs = rng.sample(sorted(AVOIDED_PAIRS), rng.choice((1, 1, 2)))
    while len({s for s, _ in pairs}) < len(pairs) or len({c for _, c in pairs}) < len(pairs):
        pairs = rng.sample(sorted(AVOIDED_PAIRS), len(pairs))
    groups = tuple(Group(s, c, _size(0.3, rng)) for s, c in pairs)
    return Description(groups, background=_background(0.4, rng))


def draw_spatial(rng: random.Random) -> Description:
    """Two things and where they stand to each other."""
    groups = tuple(Group(s, c, _size(0.1, rng)) for s, c in _distinct(2, rng))
    return Description(groups, (Link(0, rng.choice(RELATIONS), 1),), _background(0.2, rng))


def draw_paragraph(rng: random.Random) -> Description:
    """Two to four things with size and colour, linked one to the next, and a background."""
    number = rng.choice((2, 2, 3, 3, 4))
    groups = tuple(Group(s, c, _size(0.8, rng)) for s, c in _distinct(number, rng))
    linked = range(1, number) if number < MAX_OBJECTS else ()
    links = tuple(
        Link(i, rng.choice(RELATIONS), rng.randrange(i)) for i in linked if rng.random() < 0.6
    )
    return Description(groups, links, _background(0.85, rng))


DRAW: dict[str, Callable[[random.Random], Description]] = {
    "paragraph": draw_paragraph,
    "count": draw_count,
    "attributes": partial(_draw_things, (2, 2, 3), 1.0, 0.8),  # each with size and colour
    "counterfactual": draw_counterfactual,
    "common": partial(_draw_things, (1, 2, 2), 0.15, 0.35),
    "spatial": draw_spatial,
}
TRAINED_SKILLS = ("paragraph", "count", "attributes", "counterfactual", "common")


def write_prompt(skill: str, description: Description, rng: random.Random) -> str:
    return WRITERS[skill](description, rng)


def is_held_out(prompt: str) -> bool:
    """Whether a prompt is kept for the benchmarks: one in ten is, by a hash of its words alone.

    Benchmarks draw only from these; nothing that is trained in the foundation ever sees one.
    """
    words = " ".join(re.findall(r"[a-z0-9]+", prompt.lower()))
    return hashlib.sha256(words.encode()).digest()[0] % 10 == 0
