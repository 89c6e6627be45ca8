"""The pass rules of the LMD benchmark: does a picture show what its prompt asks for?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from selma.correction.detections import Detection
from selma.correction.scene import Label, Scene, make_scene

SIDES = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


class Predicate(Protocol):
    """What must be seen, of a category of prompts."""

    category: ClassVar[str]

    def labels(self) -> tuple[Label, ...]:
        """What the detector is asked for."""
        ...

    def passes(self, found: Sequence[Detection]) -> bool:
        """Whether the rule holds for what was found, after thresholds and suppression."""
        ...

    def scene(self, background: str) -> Scene:
        """What a faultless parser reads in the prompt."""
        ...


@dataclass(frozen=True)
class Absent:
    """No object of a noun."""

    category: ClassVar[str] = "negation"
    noun: str

    def labels(self) -> tuple[Label, ...]:
        return (Label(None, self.noun),)

    def passes(self, found: Sequence[Detection]) -> bool:
        return _number(found, Label(None, self.noun)) == 0

    def scene(self, background: str) -> Scene:
        return make_scene([(self.noun, [None])], background, self.noun)


@dataclass(frozen=True)
class Count:
    """Exactly so many objects of a noun."""

    category: ClassVar[str] = "numeracy"
    noun: str
    number: int

    def labels(self) -> tuple[Label, ...]:
        return (Label(None, self.noun),)

    def passes(self, found: Sequence[Detection]) -> bool:
        return _number(found, Label(None, self.noun)) == self.number

    def scene(self, background: str) -> Scene:
        return make_scene([(self.noun, [None] * self.number)], background, "")


@dataclass(frozen=True)
class Attributes:
    """An object of each of two labels; the same region may be seen as both."""

    category: ClassVar[str] = "attribution"
    first: Label
    second: Label

    def labels(self) -> tuple[Label, ...]:
        return self.first, self.second

    def passes(self, found: Sequence[Detection]) -> bool:
        return all(_number(found, label) > 0 for label in self.labels())

    def scene(self, background: str) -> Scene:
        pairs = [(label.noun, [label.attribute]) for label in self.labels()]
        return make_scene(pairs, background, "")


@dataclass(frozen=True)
class Relation:
    """The best-seen object of one noun lies to one side of that of another; equal is not enough."""

    category: ClassVar[str] = "spatial"
    first: str
    side: str  # of `SIDES`, where the first noun's object is
    second: str

    def labels(self) -> tuple[Label, ...]:
        return Label(None, self.first), Label(None, self.second)

    def passes(self, found: Sequence[Detection]) -> bool:
        best = [_best(found, label) for label in self.labels()]
        if best[0] is None or best[1] is None:
            return False
        axis = 0 if self.side in ("left", "right") else 1
        one, other = best[0].box.centre[axis], best[1].box.centre[axis]
        return one < other if self.side in ("left", "top") else one > other

    def scene(self, background: str) -> Scene:
        return make_scene([(self.first, [None]), (self.second, [None])], background, "")


def _number(found: Sequence[Detection], label: Label) -> int:
    return sum(one.label == label for one in found)


def _best(found: Sequence[Detection], label: Label) -> Detection | None:
    own = [one for one in found if one.label == label]
    return min(own, key=lambda one: one.rank_key, default=None)
