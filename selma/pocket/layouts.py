"""Named boxes in requests and replies about pictures, and where in the world there is room."""

import math
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from selma.pocket.captions import SIZE_OF_WORD, Group
from selma.pocket.render import INSIDE
from selma.pocket.scenes import CANVAS_PX, COLOURS, GAP_PX, MARGIN_PX, RADII_PX, SHAPES, Point

DECIMALS = 3
_STEP_PX = 1.0  # between places that are looked at
_ENTRY = re.compile(r'\("(?P<name>(?:[^"\\]|\\.)*)", \[(?P<box>[^\]]*)\]\)')
_NAME = re.compile(rf"(?:(?P<attribute>.+) )?(?P<shape>{'|'.join(SHAPES)}) #(?P<number>\d+)")


@dataclass(frozen=True)
class Item:
    """An object of a layout: its label, its number, and its box in fractions of the canvas."""

    attribute: str | None
    shape: str
    number: int
    box: tuple[float, float, float, float]

    @property
    def label(self) -> str:
        return f"{self.attribute} {self.shape}" if self.attribute else self.shape

    @property
    def name(self) -> str:
        return f"{self.label} #{self.number}"

    @property
    def centre(self) -> Point:
        """In pixels."""
        left, top, width, height = self.box
        return (left + width / 2) * CANVAS_PX, (top + height / 2) * CANVAS_PX

    @property
    def half_px(self) -> float:
        """Half of the box's longer side."""
        return max(self.box[2:]) * CANVAS_PX / 2

    @property
    def size(self) -> str:
        """What the box says about the size: the name of the nearest radius."""
        radius = self.half_px / _reach(self.shape)
        return min(RADII_PX, key=lambda size: abs(RADII_PX[size] - radius))

    def at(self, centre: Point) -> "Item":
        """The same object elsewhere."""
        width, height = self.box[2:]
        left, top = centre[0] / CANVAS_PX - width / 2, centre[1] / CANVAS_PX - height / 2
        return replace(self, box=_inside((left, top, width, height)))

    def scaled(self, factor: float) -> "Item":
        """The same object larger or smaller, around the same centre as far as it fits."""
        left, top, width, height = self.box
        factor = min(factor, 1 / max(width, height))
        wide, high = width * factor, height * factor
        place = (left + (width - wide) / 2, top + (height - high) / 2, wide, high)
        return replace(self, box=_inside(place))


def read_items(text: str) -> list[Item] | None:
    """Read the objects of a request; None if one is not of this world."""
    items = []
    for entry in _ENTRY.finditer(text):
        name = _NAME.fullmatch(entry["name"])
        if name is None:
            return None
        left, top, width, height = map(float, entry["box"].split(","))
        box = (left, top, width, height)
        items.append(Item(name["attribute"], name["shape"], int(name["number"]), box))
    return items


def attribute_of(group: Group) -> str | None:
    """What is said of a group's objects: "small red", None if nothing is."""
    return " ".join(filter(None, (group.size, group.colour))) or None


def describes(attribute: str | None, group: Group) -> bool:
    """Whether an attribute holds all that a group asks for."""
    words = (attribute or "").split()
    sizes = {SIZE_OF_WORD[word] for word in words if word in SIZE_OF_WORD}
    colours = {word for word in words if word in COLOURS}
    return (group.colour is None or group.colour in colours) and (
        group.size is None or group.size in sizes
    )


def new_item(attribute: str | None, shape: str, size: str, others: Iterable[Item]) -> Item:
    """Make an object of the world's size, with a number that its label does not have yet."""
    reach = RADII_PX[size] * _reach(shape)
    side = 2 * reach / CANVAS_PX
    return numbered(Item(attribute, shape, 0, (0.0, 0.0, side, side)), others)


def numbered(item: Item, others: Iterable[Item]) -> Item:
    """Give an object a number that its label does not have yet."""
    taken = [one.number for one in others if one.label == item.label]
    return replace(item, number=max(taken, default=0) + 1)


Fits = Callable[[Point], bool]


def nearest_place(item: Item, others: Sequence[Item], fits: Fits) -> Item | None:
    """Move an object as little as needed to a place that fits and is free; None if there is none.

    Free is what keeps `GAP_PX` from all others, taken for circles.
    """
    start = item.centre
    for centre in sorted(_places(item), key=lambda place: (math.dist(place, start), place)):
        if fits(centre) and is_free(item, centre, others):
            return item.at(centre)
    return None


def free_place(item: Item, others: Sequence[Item], fits: Fits, rng: random.Random) -> Item | None:
    """Put an object at a drawn place that fits and is free; None if there is none."""
    places = [p for p in _places(item) if fits(p) and is_free(item, p, others)]
    return item.at(rng.choice(places)) if places else None


def is_free(item: Item, centre: Point, others: Iterable[Item]) -> bool:
    return all(
        math.dist(centre, other.centre) >= item.half_px + other.half_px + GAP_PX for other in others
    )


def overlap(one: Item, other: Item) -> float:
    """The area that two boxes share, as a part of the canvas."""
    sides = [
        min(one.box[n] + one.box[n + 2], other.box[n] + other.box[n + 2])
        - max(one.box[n], other.box[n])
        for n in (0, 1)
    ]
    return max(0.0, sides[0]) * max(0.0, sides[1])


def _places(item: Item) -> list[Point]:
    edges = [side * CANVAS_PX / 2 + MARGIN_PX for side in item.box[2:]]
    columns, rows = (np.arange(edge, CANVAS_PX - edge + 1e-9, _STEP_PX) for edge in edges)
    return [(float(x), float(y)) for x in columns for y in rows]


@cache
def _reach(shape: str) -> float:
    """Half the longer side of the box of a shape of radius 1."""
    steps = np.linspace(-1.2, 1.2, 241)
    inside = INSIDE[shape](steps[None, :], steps[:, None])
    spans = [np.ptp(steps[inside.any(axis=axis)]) for axis in (0, 1)]
    return float(max(spans)) / 2


def _inside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    width, height = (round(side, DECIMALS) for side in box[2:])
    left, top = (
        round(min(max(start, 0.0), 1 - side), DECIMALS)
        for start, side in zip(box[:2], (width, height), strict=True)
    )
    return left, top, width, height
