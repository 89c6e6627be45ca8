"""What a prompt wants of a picture: captions' descriptions, and the forms that benchmarks add."""

import re
from dataclasses import dataclass

from selma.pocket.caption_reading import read_caption
from selma.pocket.captions import (
    COUNT_WORDS,
    SHAPE_OF_NAME,
    SIZE_OF_WORD,
    Description,
    Group,
    Link,
    any_of,
)
from selma.pocket.scenes import COLOURS

# The background of a prompt that says nothing about it. "A picture" would say of what is behind the
# objects that there are some: the base model fills holes with them.
PLAIN = "A plain background"
_NO_STYLE = ("", "a picture", "picture", "image", "an image", "a drawing")
COUNTS = {**{word: count for count, word in COUNT_WORDS.items()}, "five": 5}
SIDES = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
THING = rf"(?:(?:{any_of(SIZE_OF_WORD)}) )?(?:(?:{any_of(COLOURS)}) )?(?:{any_of(SHAPE_OF_NAME)})\b"
_WITHOUT = re.compile(r"(?P<wanted>.*?)\b(?:without|with no) (?P<forbidden>.+)")
_ON_SIDES = re.compile(
    rf"(?:(?P<style>.*) with )?an? (?P<first>{THING}) on the (?P<side>{any_of(SIDES)}) and "
    rf"an? (?P<second>{THING}) on the (?P<other>{any_of(SIDES)})"
)
_COUNT = re.compile(
    rf"(?:(?P<style>.*) with )?(?:exactly )?(?P<number>{any_of(COUNTS)}) (?P<things>{THING})"
)
_FORBIDDEN = re.compile(rf"\b(?:any |an? |the )?(?P<thing>{THING})")


@dataclass(frozen=True)
class Wish:
    """What a picture shall show and not show; a forbidden group's count does not matter."""

    groups: tuple[Group, ...]
    links: tuple[Link, ...]
    forbidden: tuple[Group, ...]
    background: str  # style and place, as a part of a prompt
    is_clear: bool  # links hold only from a distance on, as `scenes.holds` says


def read_wish(prompt: str) -> Wish | None:
    """Understand a prompt that describes a picture; None if it is not about this world."""
    text = " ".join(prompt.lower().split()).removesuffix(".")
    if found := _WITHOUT.fullmatch(text):
        return _negation(found)
    if found := _ON_SIDES.fullmatch(text):
        return _sides(found)
    if found := _COUNT.fullmatch(text):
        things = thing_of(found["things"], COUNTS[found["number"]])
        return Wish((things,), (), (), _style(found["style"]), True)
    style, _, rest = text.partition(" with ")
    if description := read_caption(text):
        return _from_description(description)
    if description := read_caption(rest):
        return _from_description(description, style)
    return None


def thing_of(words: str, count: int = 1) -> Group:
    """Read the words of `THING`."""
    *attributes, name = words.split()
    colour = next((word for word in attributes if word in COLOURS), None)
    size = next((SIZE_OF_WORD[word] for word in attributes if word in SIZE_OF_WORD), None)
    return Group(SHAPE_OF_NAME[name], colour, size, count)


def _from_description(description: Description, style: str = "") -> Wish:
    colour = description.background
    background = f"A {colour} background" if colour else _style(style)
    return Wish(description.groups, description.links, (), background, True)


def _negation(found: re.Match[str]) -> Wish | None:
    things = [thing_of(one["thing"]) for one in _FORBIDDEN.finditer(found["forbidden"])]
    wanted = read_caption(found["wanted"])
    if not things:
        return None
    if wanted is None:
        return Wish((), (), tuple(things), _style(found["wanted"]), True)
    wish = _from_description(wanted)
    return Wish(wish.groups, wish.links, tuple(things), wish.background, True)


def _sides(found: re.Match[str]) -> Wish | None:
    opposite = dict(zip(SIDES, ("right", "left", "bottom", "top"), strict=True))
    if opposite[found["side"]] != found["other"]:
        return None
    groups = (thing_of(found["first"]), thing_of(found["second"]))
    link = Link(0, SIDES[found["side"]], 1)
    return Wish(groups, (link,), (), _style(found["style"]), False)


def _style(words: str | None) -> str:
    words = (words or "").strip()
    return PLAIN if words in _NO_STYLE else words[0].upper() + words[1:]
