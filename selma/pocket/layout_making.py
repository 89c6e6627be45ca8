"""Corrects a layout so that it shows what a prompt wants, with as few changes as it finds."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from selma.pocket.captions import Group, Link
from selma.pocket.layouts import (
    Item,
    attribute_of,
    describes,
    free_place,
    nearest_place,
    new_item,
    numbered,
    overlap,
)
from selma.pocket.scenes import RADII_PX, Point, holds
from selma.pocket.wishes import Wish

_ATTEMPTS = 25  # to lay out what is new or has to move
_CROWD = 4  # from so many objects on new ones are small, if nothing is said of their size


@dataclass(frozen=True)
class Answer:
    """The objects that a picture shall have, and a sentence for each change."""

    items: tuple[Item, ...]
    reasons: tuple[str, ...]


@dataclass
class _Draft:
    """The layout as far as it is made; `placed` and `waiting` are by (group, place in it)."""

    wish: Wish
    current: Sequence[Item]
    left: Sequence[Item]  # of these, all that is not forbidden
    placed: dict[tuple[int, int], Item] = field(default_factory=dict)
    waiting: dict[tuple[int, int], Item] = field(default_factory=dict)
    bystanders: list[Item] = field(default_factory=list)  # neither wanted nor forbidden
    reasons: list[str] = field(default_factory=list)

    def known(self) -> list[Item]:
        """All that has a name, before or now."""
        return [*self.current, *self.placed.values(), *self.waiting.values()]


def correct_layout(wish: Wish, current: Sequence[Item], rng: random.Random) -> Answer:
    """Correct what a picture shows; what is right keeps its name and its box.

    1. Forbidden objects go.
    2. Of each shape, objects that fit what is said of a group stay, those first that stand in its
       relations, and then the largest; others take its attribute, those without one before those
       with a wrong one; the rest goes.
    3. Objects whose size is wrong are made anew around the same centre.
    4. Relations that do not hold are mended by the smallest move of one object that is free.
    5. What is missing gets a free place; where there is none, what is new or linked is laid out
       anew, and at last all is.
    """
    left = [item for item in current if not any(_is(item, one) for one in wish.forbidden)]
    draft = _Draft(wish, current, left)
    draft.reasons += [f"{_the(item)} must not be there." for item in current if item not in left]
    shapes = dict.fromkeys(group.shape for group in wish.groups)
    draft.bystanders = [item for item in left if item.shape not in shapes]
    for shape in shapes:
        _assign(draft, shape)
    _mend_links(draft)
    items = _lay_out(draft, rng)
    order = {item.name: place for place, item in enumerate(current)}
    items.sort(key=lambda item: order.get(item.name, len(order)))
    return Answer(tuple(items), tuple(draft.reasons))


def _is(item: Item, group: Group) -> bool:
    return item.shape == group.shape and describes(item.attribute, group)


def _the(item: Item) -> str:
    return f"The {item.label} (#{item.number})"


def _worth(draft: _Draft, number: int, item: Item) -> tuple[int, int, float]:
    """Sorts first what is taken away: what stands wrong, is small, stands alone."""
    shared = sum(overlap(item, other) for other in draft.left if other != item)
    return _links_held(draft, number, item), round(item.half_px), shared


def _links_held(draft: _Draft, number: int, item: Item) -> int:
    """How many links of a group hold for an object, with any that may be at the other end."""
    held = 0
    for link in draft.wish.links:
        if number in (link.first, link.second):
            other_end = link.second if number == link.first else link.first
            shape = draft.wish.groups[other_end].shape
            centres = [other.centre for other in draft.left if other.shape == shape]
            own = item.centre
            pairs = [(own, c) if number == link.first else (c, own) for c in centres]
            held += any(_linked(draft.wish, link, *pair) for pair in pairs)
    return held


def _assign(draft: _Draft, shape: str) -> None:
    """Share out the objects of a shape among its groups."""
    own = [item for item in draft.left if item.shape == shape]
    groups = [(n, group) for n, group in enumerate(draft.wish.groups) if group.shape == shape]
    groups.sort(key=lambda pair: -len((attribute_of(pair[1]) or "").split()))  # exact ones first
    open_places: list[tuple[int, int]] = []
    for number, group in groups:
        own.sort(key=partial(_worth, draft, number), reverse=True)
        fitting = [item for item in own if describes(item.attribute, group)][: group.count]
        own = [item for item in own if item not in fitting]
        draft.placed |= {(number, place): item for place, item in enumerate(fitting)}
        open_places += [(number, place) for place in range(len(fitting), group.count)]
    own.sort(key=lambda item: item.attribute is not None)  # stable: the best first
    for key, item in zip(open_places, own, strict=False):
        _rename(draft, key, item)
    for item in own[len(open_places) :]:
        draft.reasons.append(f"{_the(item)} is one too many.")
    for key in open_places[len(own) :]:
        _add(draft, key)


def _rename(draft: _Draft, key: tuple[int, int], item: Item) -> None:
    group = draft.wish.groups[key[0]]
    named = numbered(replace(item, attribute=attribute_of(group)), draft.known())
    if group.size and group.size != item.size:
        named = named.scaled(RADII_PX[group.size] / RADII_PX[item.size])
        draft.reasons.append(f"{_the(item)} shall be a {named.label} and needs another size.")
    else:
        draft.reasons.append(f"{_the(item)} shall be a {named.label}; it keeps its box.")
    draft.placed[key] = named


def _add(draft: _Draft, key: tuple[int, int]) -> None:
    group = draft.wish.groups[key[0]]
    total = sum(one.count for one in draft.wish.groups) + len(draft.bystanders)
    alike = [item.size for place, item in draft.placed.items() if place[0] == key[0]]
    size = group.size or (alike[0] if alike else "small" if total >= _CROWD else "large")
    item = new_item(attribute_of(group), group.shape, size, draft.known())
    draft.waiting[key] = item
    draft.reasons.append(f"A {item.label} is missing.")


def _mend_links(draft: _Draft) -> None:
    """Move as little as possible so that the links among what is there hold."""
    for link in draft.wish.links:
        pair = [draft.placed.get((end, 0)) for end in (link.first, link.second)]
        if None in pair or _linked(draft.wish, link, *[one.centre for one in pair if one]):
            continue
        for end in (link.first, link.second):
            item = draft.placed[end, 0]
            others = [one for key, one in draft.placed.items() if key != (end, 0)]
            moved = nearest_place(
                item, [*others, *draft.bystanders], _fits(draft.wish, end, draft.placed)
            )
            if moved:
                draft.placed[end, 0] = moved
                break
        else:
            first, second = (draft.placed[end, 0] for end in (link.first, link.second))
            draft.placed[link.first, 0] = first.at(second.centre)
            draft.placed[link.second, 0] = second.at(first.centre)
        names = [f"the {draft.wish.groups[end].shape}" for end in (link.first, link.second)]
        draft.reasons.append(f"{names[0].capitalize()} has to be {link.relation} {names[1]}.")


def _lay_out(draft: _Draft, rng: random.Random) -> list[Item]:
    """Put what waits at free places where all links hold; with ever more liberty."""
    linked = {(end, 0) for link in draft.wish.links for end in (link.first, link.second)}
    all_items = draft.placed | draft.waiting
    liberties: list[tuple[set[tuple[int, int]], bool]] = [
        (set(draft.waiting), False),
        (set(draft.waiting), True),
        (set(draft.waiting) | linked, False),
        (set(draft.waiting) | linked, True),
        (set(all_items), True),
    ]
    for moving, small in liberties:
        for _ in range(_ATTEMPTS if moving else 1):
            done = _try(draft, all_items, moving, small, rng)
            if done is not None:
                return [*draft.bystanders, *done.values()]
    return [*draft.bystanders, *_anyhow(draft.wish, all_items, draft.waiting, rng).values()]


def _try(
    draft: _Draft, items: dict[tuple[int, int], Item], moving: set[tuple[int, int]], small: bool,
    rng: random.Random,
) -> dict[tuple[int, int], Item] | None:  # fmt: skip
    done = {key: item for key, item in items.items() if key not in moving}
    for key in rng.sample(sorted(moving), len(moving)):
        item = items[key]
        if small and key in draft.waiting and draft.wish.groups[key[0]].size is None:
            item = item.scaled(RADII_PX["small"] / RADII_PX[item.size])
        others = [*done.values(), *draft.bystanders]
        fits = _fits(draft.wish, key[0], done)
        placed = free_place(item, others, fits, rng)
        if placed is None:
            return None
        done[key] = placed
    return done if _all_hold(draft.wish, done) else None


def _anyhow(
    wish: Wish, items: dict[tuple[int, int], Item], waiting: Iterable[tuple[int, int]],
    rng: random.Random,
) -> dict[tuple[int, int], Item]:  # fmt: skip
    """Put what waits where its links hold, over others if need be."""
    done = dict(items)
    for key in waiting:
        others = {other: item for other, item in done.items() if other != key}
        placed = free_place(done[key], [], _fits(wish, key[0], others), rng)
        done[key] = placed or done[key]
    return done


def _all_hold(wish: Wish, items: dict[tuple[int, int], Item]) -> bool:
    ends = ((link, items.get((link.first, 0)), items.get((link.second, 0))) for link in wish.links)
    return all(a and b and _linked(wish, link, a.centre, b.centre) for link, a, b in ends)


def _linked(wish: Wish, link: Link, first: Point, second: Point) -> bool:
    if wish.is_clear:
        return holds(link.relation, first, second)
    axis = 0 if link.relation in ("left of", "right of") else 1
    sign = 1 if link.relation in ("left of", "above") else -1
    return sign * first[axis] < sign * second[axis]


def _fits(wish: Wish, end: int, items: dict[tuple[int, int], Item]) -> Callable[[Point], bool]:
    """Where an object may be put: in clear relation to what it is linked with."""
    others = {
        other: items[other, 0].centre
        for link in wish.links
        if end in (link.first, link.second)
        for other in (link.first, link.second)
        if other != end and (other, 0) in items
    }

    def fits(place: Point) -> bool:
        for link in wish.links:
            if link.first == end and link.second in others:
                if not holds(link.relation, place, others[link.second]):
                    return False
            elif (
                link.second == end
                and link.first in others
                and not holds(link.relation, others[link.first], place)
            ):
                return False
        return True

    return fits
