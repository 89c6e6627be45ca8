"""Adds flaws to a picture that is yet to be drawn: false facts, broken objects, bad pixels.

A draft with one flaw more is worse by construction. How defects look is in `defects`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from selma.pocket.captions import Description, Group, Link
from selma.pocket.scenes import BACKGROUNDS, COLOURS, MAX_OBJECTS, RADII_PX, RELATIONS, SHAPES


@dataclass(frozen=True)
class Defect:
    """Something wrong with the drawing; `severity` in [0, 1], `where` in [0, 1) picks an object."""

    kind: str
    severity: float
    where: float


@dataclass(frozen=True)
class Draft:
    """A picture to be drawn; no group is changed twice, so that no flaw can mend another."""

    description: Description
    touched: frozenset[str] = frozenset()  # shapes of the groups that are not as asked for
    defects: tuple[Defect, ...] = ()
    kinds: tuple[str, ...] = ()  # all its flaws, in the order in which they came


Change = Callable[[Draft, random.Random], Draft | None]


def add_flaw(
    draft: Draft, kind: str, rng: random.Random, *, severity: tuple[float, float]
) -> Draft | None:
    """Add a flaw to a draft; None if it has that kind already or there is no place for it.

    `kind` is a name in ``FACTS``, `defects.BROKEN` or `defects.DEGRADED`; `severity` is the range
    of a defect's severity: a false fact is false whatever the severity.
    """
    if kind in draft.kinds:
        return None
    if kind in FACTS:
        changed = FACTS[kind](draft, rng)
    else:
        defect = Defect(kind, rng.uniform(*severity), rng.random())
        changed = replace(draft, defects=(*draft.defects, defect))
    return changed and replace(changed, kinds=(*draft.kinds, kind))


def _regroup(draft: Draft, groups: Sequence[Group], *touched: str) -> Draft:
    description = replace(draft.description, groups=tuple(groups))
    return replace(draft, description=description, touched=draft.touched | set(touched))


def _untouched(draft: Draft) -> list[int]:
    groups = draft.description.groups
    return [i for i, group in enumerate(groups) if group.shape not in draft.touched]


def _in_one_group(change: Callable[[Draft, Group, random.Random], Group | None]) -> Change:
    """Make a change of one group, picked of those that still are as asked for."""

    def apply(draft: Draft, rng: random.Random) -> Draft | None:
        free, groups = _untouched(draft), list(draft.description.groups)
        index = rng.choice(free) if free else None
        changed = None if index is None else change(draft, groups[index], rng)
        if index is None or changed is None:
            return None
        groups[index] = changed
        return _regroup(draft, groups, changed.shape)

    return apply


def _unused_colour(draft: Draft, rng: random.Random) -> str:
    taken = {group.colour for group in draft.description.groups}
    return rng.choice([colour for colour in COLOURS if colour not in taken])


def _unused_shape(draft: Draft, rng: random.Random) -> str:
    taken = {group.shape for group in draft.description.groups} | draft.touched
    return rng.choice([shape for shape in SHAPES if shape not in taken])


def _size(draft: Draft, group: Group, rng: random.Random) -> Group | None:
    other = next(name for name in RADII_PX if name != group.size)
    return replace(group, size=other) if group.size else None


def _count(draft: Draft, group: Group, rng: random.Random) -> Group | None:
    most = MAX_OBJECTS - sum(each.count for each in draft.description.groups) + group.count
    others = [n for n in range(1, most + 1) if n != group.count]
    possible = others and not draft.description.links
    return replace(group, count=rng.choice(others)) if possible else None


def _relation(draft: Draft, rng: random.Random) -> Draft | None:
    links = list(draft.description.links)
    if not links:
        return None
    index = rng.randrange(len(links))
    other = rng.choice([name for name in RELATIONS if name != links[index].relation])
    links[index] = replace(links[index], relation=other)
    return replace(draft, description=replace(draft.description, links=tuple(links)))


def _background(draft: Draft, rng: random.Random) -> Draft | None:
    asked = draft.description.background
    if asked is None:
        return None
    other = rng.choice([name for name in BACKGROUNDS if name != asked])
    return replace(draft, description=replace(draft.description, background=other))


def _swap(draft: Draft, rng: random.Random) -> Draft | None:
    groups, free = list(draft.description.groups), _untouched(draft)
    if len(free) < 2:
        return None
    i, j = rng.sample(free, 2)
    first, second = groups[i], groups[j]
    groups[i] = replace(first, colour=second.colour)
    groups[j] = replace(second, colour=first.colour)
    return _regroup(draft, groups, groups[i].shape, groups[j].shape)


def _missing(draft: Draft, rng: random.Random) -> Draft | None:
    free, description = _untouched(draft), draft.description
    index = rng.choice(free) if free else None
    if index is None or len(description.groups) < 2:
        return None
    groups = [group for i, group in enumerate(description.groups) if i != index]
    links = tuple(
        Link(link.first - (link.first > index), link.relation, link.second - (link.second > index))
        for link in description.links
        if index not in (link.first, link.second)
    )
    without = replace(draft, description=replace(description, links=links))
    return _regroup(without, groups, description.groups[index].shape)


def _extra(draft: Draft, rng: random.Random) -> Draft | None:
    groups = draft.description.groups
    if sum(group.count for group in groups) >= MAX_OBJECTS:
        return None
    shape = _unused_shape(draft, rng)
    return _regroup(draft, [*groups, Group(shape, _unused_colour(draft, rng))], shape)


FACTS: dict[str, Change] = {
    "background": _background,
    "colour": _in_one_group(lambda d, group, rng: replace(group, colour=_unused_colour(d, rng))),
    "count": _in_one_group(_count),
    "extra": _extra,
    "missing": _missing,
    "relation": _relation,
    "shape": _in_one_group(lambda d, group, rng: replace(group, shape=_unused_shape(d, rng))),
    "size": _in_one_group(_size),
    "swap": _swap,
}
