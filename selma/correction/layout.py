"""Named boxes: which objects a picture has, or shall have, and where."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selma.correction.scene import Label, split_label

SAME_IOU = 0.9  # boxes that overlap more are the same place
_ROUNDING = 1e-9  # 0.557 + 0.443 may be a little above 1
_NAME = re.compile(r"(?P<label>\S.*?)\s*#\s*(?P<number>[1-9]\d{0,5})")


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle in fractions of the picture's width and height, from its top-left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def values(self) -> list[float]:
        """Its four numbers as replies, files and traces hold them."""
        return [self.x, self.y, self.width, self.height]


def iou(one: Box, other: Box) -> float:
    """Intersection over union; 0 for boxes without area."""
    width = min(one.right, other.right) - max(one.x, other.x)
    height = min(one.bottom, other.bottom) - max(one.y, other.y)
    shared = max(0.0, width) * max(0.0, height)
    union = one.width * one.height + other.width * other.height - shared
    return shared / union if union > 0 else 0.0


def same_place(one: Box, other: Box) -> bool:
    return iou(one, other) > SAME_IOU


def clamp(box: Box) -> Box | None:
    """Cut off what lies outside the picture; None if nothing is left; the same box if all is in."""
    if min(box.x, box.y) >= 0 and max(box.right, box.bottom) <= 1 + _ROUNDING:
        return box
    left, top = max(0.0, box.x), max(0.0, box.y)
    width, height = min(1.0, box.right) - left, min(1.0, box.bottom) - top
    if min(width, height) <= _ROUNDING:
        return None
    return Box(left, top, round(width, 12), round(height, 12))  # 1 - 0.9 is 0.1


@dataclass(frozen=True)
class Named:
    """An object of a layout; label and number are its identity."""

    label: Label
    number: int
    box: Box

    @property
    def name(self) -> str:
        return f"{self.label.text} #{self.number}"

    @property
    def sort_key(self) -> tuple[tuple[str, str], int]:
        return self.label.sort_key, self.number


Layout = tuple[Named, ...]


@dataclass(frozen=True)
class Checked:
    """A layout that keeps the rules, and what was done to make it so."""

    layout: Layout
    clamped: Mapping[str, list[float]]  # name → the box as it was given


def check_layout(entries: Any, nouns: Iterable[str], objects_max: int) -> Checked:
    """Check ``[("label #k", [x, y, width, height]), …]`` from an LLM or a file.

    Args:
        entries: as it was read.
        nouns: what tells a label's attribute from its noun; see `split_label`.
        objects_max: how many objects are too many by one.

    Raises:
        ValueError: says what is wrong with which entry, for the one who wrote it.
    """
    if not isinstance(entries, list | tuple):
        raise ValueError(f"expected a list of objects, got {_short(entries)}")
    if len(entries) > objects_max:
        raise ValueError(f"{len(entries)} objects are too many; give at most {objects_max}")
    nouns = list(nouns)
    objects: list[Named] = []
    clamped: dict[str, list[float]] = {}
    for entry in entries:
        one = _named(entry, nouns)
        if any(other.name == one.name for other in objects):
            raise ValueError(f"{one.name!r} stands there twice; give each object its own number")
        inside = clamp(one.box)
        if inside is None:
            raise ValueError(
                f"{one.name!r}: its box {one.box.values()} lies outside the picture, which goes "
                "from 0 to 1"
            )
        if inside != one.box:
            clamped[one.name] = one.box.values()
        objects.append(Named(one.label, one.number, inside))
    return Checked(tuple(objects), clamped)


def entries_of(layout: Layout) -> list[list[Any]]:
    """Write a layout as JSON holds it."""
    return [[one.name, one.box.values()] for one in layout]


def _named(entry: Any, nouns: Sequence[str]) -> Named:
    if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
        raise ValueError(f"expected ('label #k', [x, y, width, height]), got {_short(entry)}")
    name = _NAME.fullmatch(" ".join(entry[0].split()))
    if name is None:
        raise ValueError(f"expected a name like 'dog #1', got {_short(entry[0])}")
    label = split_label(name["label"], nouns)
    return Named(label, int(name["number"]), _box(entry[0], entry[1]))


def _box(name: str, values: Any) -> Box:
    if not isinstance(values, list | tuple) or len(values) != 4:
        raise ValueError(f"{name!r}: expected [x, y, width, height], got {_short(values)}")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name!r}: expected four numbers, got {_short(value)}")
        if not _is_finite(value):
            raise ValueError(f"{name!r}: {_short(value)} is no number that a box can have")
    box = Box(*map(float, values))
    if box.width <= 0 or box.height <= 0:
        raise ValueError(f"{name!r}: width and height must be above 0, got {_short(values)}")
    return box


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of 400 digits
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
