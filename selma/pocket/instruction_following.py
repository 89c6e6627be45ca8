"""Changes a layout as an instruction says; all else keeps its name and its box."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from selma.pocket.instructions import Act, Target
from selma.pocket.layout_making import Answer
from selma.pocket.layouts import (
    Fits,
    Item,
    attribute_of,
    describes,
    free_place,
    nearest_place,
    new_item,
    numbered,
)
from selma.pocket.scenes import CANVAS_PX, COLOURS, RADII_PX, Point, holds

_GROWTH = RADII_PX["large"] / RADII_PX["small"]
_SLIGHTLY_PX = (2.5, 6.0)  # nearest and farthest that "slightly" goes
_OFF_MIDDLE_PX = 5.0  # what is "on the left" at least
_MIDDLE_PX = 5.0  # what is "in the middle" at most
_AXIS = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}


@dataclass
class _Edit:
    """A layout that is being changed."""

    items: list[Item]
    before: Sequence[Item]
    reasons: list[str]
    rng: random.Random

    def known(self) -> list[Item]:
        return [*self.before, *self.items]

    def others(self, *items: Item) -> list[Item]:
        return [one for one in self.items if one not in items]

    def put(self, old: Item, new: Item, reason: str) -> None:
        self.items[self.items.index(old)] = new
        self.reasons.append(reason)


def follow(acts: Sequence[Act], current: Sequence[Item], rng: random.Random) -> Answer:
    """Carry out the acts one after the other; objects that are not there are passed over."""
    edit = _Edit(list(current), current, [], rng)
    for act in acts:
        _DO[act.kind](edit, act)
    return Answer(tuple(edit.items), tuple(edit.reasons))


def chosen(items: Sequence[Item], target: Target) -> list[Item]:
    """Find who is meant; objects without an attribute if none is seen with the one named."""
    alike = [item for item in items if item.shape == target.group.shape]
    named = [item for item in alike if describes(item.attribute, target.group)]
    found = named or [item for item in alike if item.attribute is None]
    if target.all or not found:
        return found
    if target.side:
        axis, sign = _AXIS[target.side]
        return [min(found, key=lambda item: sign * -item.centre[axis])]
    return [min(found, key=lambda item: item.number)]


def _recolour(edit: _Edit, act: Act) -> None:
    for item in chosen(edit.items, act.targets[0]):
        kept = [word for word in (item.attribute or "").split() if word not in COLOURS]
        named = replace(item, attribute=" ".join([*kept, str(act.value)]))
        named = numbered(named, edit.known())
        edit.put(item, named, f"The {item.label} keeps its box and becomes {act.value}.")


def _resize(edit: _Edit, act: Act) -> None:
    for item in chosen(edit.items, act.targets[0]):
        scaled = item.scaled(_GROWTH if act.value == "large" else 1 / _GROWTH)
        free = nearest_place(scaled, edit.others(item), _anywhere)
        edit.put(item, free or scaled, f"The {item.label} gets {act.value}.")


def _remove(edit: _Edit, act: Act) -> None:
    for item in chosen(edit.items, act.targets[0]):
        edit.items.remove(item)
        edit.reasons.append(f"The {item.label} (#{item.number}) goes.")


def _replace(edit: _Edit, act: Act) -> None:
    assert act.new is not None
    old = chosen(edit.items, act.targets[0])
    for item in old:
        edit.items.remove(item)
        edit.reasons.append(f"The {item.label} makes room.")
    places = [item.centre for item in old]
    for number in range(max(act.new.count, len(old))):
        size = act.new.size or (old[0].size if old else "large")
        item = new_item(attribute_of(act.new), act.new.shape, size, edit.known())
        if number < len(places):
            edit.items.append(item.at(places[number]))
        else:
            _put_new(edit, item.at(places[0]) if places else item, _anywhere)
        edit.reasons.append(f"A {item.label} comes in its place.")


def _add(edit: _Edit, act: Act) -> None:
    assert act.new is not None
    for _ in range(act.new.count):
        size = act.new.size or ("large" if len(edit.items) < 2 else "small")
        item = new_item(attribute_of(act.new), act.new.shape, size, edit.known())
        _put_new(edit, item, _where(edit, act, None))
        edit.reasons.append(f"There is room for a {item.label}.")


def _put_new(edit: _Edit, item: Item, fits: Fits) -> None:
    """At a free place that fits, else smaller, else where it fits, over others."""
    small = item.scaled(RADII_PX["small"] / RADII_PX[item.size])
    for one, others in ((item, edit.items), (small, edit.items), (small, [])):
        placed = free_place(one, others, fits, edit.rng)
        if placed is not None:
            edit.items.append(placed)
            return
    edit.items.append(free_place(small, [], _anywhere, edit.rng) or small)


def _move(edit: _Edit, act: Act) -> None:
    for item in chosen(edit.items, act.targets[0]):
        fits = _where(edit, act, item)
        moved = nearest_place(item, edit.others(item), fits) or nearest_place(item, [], fits)
        if moved is not None:
            goal = act.side or f"{act.relation} the {act.anchor.group.shape if act.anchor else ''}"
            edit.put(item, moved, f"The {item.label} moves: {goal}.")


def _swap(edit: _Edit, act: Act) -> None:
    first, second = (chosen(edit.items, target)[:1] for target in act.targets)
    if first and second and first != second:
        (one,), (other,) = first, second
        edit.put(one, one.at(other.centre), f"The {one.label} goes where the {other.label} is.")
        edit.put(other, other.at(one.centre), f"The {other.label} goes where the {one.label} was.")


def _where(edit: _Edit, act: Act, moved: Item | None) -> Fits:
    """Where an act puts an object, which is `moved` or new."""
    if act.relation and act.anchor:
        anchors = chosen(edit.others(moved) if moved else edit.items, act.anchor)
        relation = act.relation
        return lambda place: all(holds(relation, place, one.centre) for one in anchors[:1])
    if act.side is None:
        return _anywhere
    if act.side == "middle":
        return lambda place: max(abs(one - CANVAS_PX / 2) for one in place) <= _MIDDLE_PX
    return partial(_on_side, act.side, moved.centre if moved else None, act.slightly)


def _on_side(side: str, start: Point | None, slightly: bool, place: Point) -> bool:
    """Whether a place is at a side, or to that side of where an object was."""
    axis, sign = _AXIS[side]
    if start is None:
        return sign * (place[axis] - CANVAS_PX / 2) >= _OFF_MIDDLE_PX
    along, across = sign * (place[axis] - start[axis]), abs(place[1 - axis] - start[1 - axis])
    if slightly:
        return _SLIGHTLY_PX[0] <= along <= _SLIGHTLY_PX[1] and across <= 1
    return along >= _SLIGHTLY_PX[0] and _on_side(side, None, False, place)


def _anywhere(place: Point) -> bool:
    return True


_DO: dict[str, Callable[[_Edit, Act], None]] = {
    "recolour": _recolour, "resize": _resize, "remove": _remove, "replace": _replace, "add": _add,
    "move": _move, "swap": _swap,
}  # fmt: skip
