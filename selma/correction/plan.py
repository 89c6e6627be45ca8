"""The operations that lead from the layout a picture has to the one it shall have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from selma.correction.layout import Layout, Named, iou, same_place

KINDS = ("remove", "add", "move", "attribute")


@dataclass(frozen=True)
class Change:
    """An object as it is and as it shall be."""

    current: Named
    goal: Named


@dataclass(frozen=True)
class Plan:
    """What becomes of each object, in the order of their names.

    Each object of the current layout stands in one of preserve, remove, move and attribute; each of
    the goal in one of preserve, add, move and attribute. A change of size is a move.
    """

    preserve: tuple[Change, ...]  # the goal may number it anew
    remove: tuple[Named, ...]
    add: tuple[Named, ...]
    move: tuple[Change, ...]
    attribute: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.remove or self.add or self.move or self.attribute)

    def counts(self) -> dict[str, int]:
        """How many operations there are of each kind."""
        return {kind: len(getattr(self, kind)) for kind in KINDS}

    def as_json(self) -> dict[str, Any]:
        """Write it by names; the boxes stand in the layouts."""
        kept: Mapping[str, tuple[Change, ...]] = {
            "preserve": self.preserve, "move": self.move, "attribute": self.attribute,
        }  # fmt: skip
        pairs = {kind: [[c.current.name, c.goal.name] for c in kept[kind]] for kind in kept}
        names = {kind: [one.name for one in getattr(self, kind)] for kind in ("remove", "add")}
        return {**pairs, **names}


class _Open:
    """The objects of both layouts that no operation has yet, in the order of their names."""

    def __init__(self, current: Layout, goal: Layout) -> None:
        self.current = {one.sort_key: one for one in sorted(current, key=_key)}
        self.goal = {one.sort_key: one for one in sorted(goal, key=_key)}
        for layout in (current, goal):
            if len({one.name for one in layout}) < len(layout):
                raise ValueError("a layout holds a name twice")

    def take(self, fits: Callable[[Named, Named], bool]) -> tuple[Change, ...]:
        """Take out the pairs that fit, those that overlap most first; in the order of the goal."""
        pairs = [
            (-iou(old.box, new.box), new.sort_key, old.sort_key)
            for old in self.current.values()
            for new in self.goal.values()
            if fits(old, new)
        ]
        changes = []
        for _, new, old in sorted(pairs):
            if new in self.goal and old in self.current:
                changes.append(Change(self.current.pop(old), self.goal.pop(new)))
        return tuple(sorted(changes, key=lambda change: change.goal.sort_key))


def _key(one: Named) -> tuple[tuple[str, str], int]:
    return one.sort_key


def plan(current: Layout, goal: Layout) -> Plan:
    """Compare two layouts; depends on what they hold, not on its order.

    1. The same name at the same place is preserved; so is an object whose name the goal no longer
       has, if the goal has one of its label there: of two cars one remains, whichever number
       the goal gives it.
    2. The same name at another place is moved.
    3. An object without attribute, at the place of a goal with its noun and an attribute, gets it.
    4. What remains of the goal is added, of the current layout removed.

    Departs from the published code in 1, and in 3, which there took the last word for the noun and
    failed when two goals shared a place.

    Raises:
        ValueError: a layout holds a name twice.
    """
    left = _Open(current, goal)
    kept = {one.name for one in goal}
    preserve = left.take(lambda old, new: old.name == new.name and same_place(old.box, new.box))
    preserve += left.take(
        lambda old, new: (
            old.label == new.label and old.name not in kept and same_place(old.box, new.box)
        )
    )
    move = left.take(lambda old, new: old.name == new.name)
    attribute = left.take(
        lambda old, new: (
            old.label.noun == new.label.noun
            and old.label.attribute is None
            and new.label.attribute is not None
            and same_place(old.box, new.box)
        )
    )
    return Plan(
        tuple(sorted(preserve, key=lambda change: change.goal.sort_key)),
        tuple(left.current.values()), tuple(left.goal.values()), move, attribute,
    )  # fmt: skip
