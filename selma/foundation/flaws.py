"""Adds flaws to a picture that is yet to be drawn: false facts, broken objects, bad pixels.

A draft with one flaw more is worse by construction. How defects look is in `defects`.
"""

import random
from collections.abc import Callable
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
    """A picture to be drawn.

    Attributes:
        description: what it shows.
        touched: shapes of the groups that no longer are as asked for; none is changed twice, so
            that no flaw can mend another.
        defects: what is wrong with how it is drawn.
        kinds: all its flaws, in the order in which they came.
    """

    description: Description
    touched: frozenset[str] = frozenset()
    defects: tuple[Defect, ...] = ()
    kinds: tuple[str, ...] = ()


Change = Callable[[Draft, random.Random], Draft | None]


def add_flaw(
    draft: Draft, kind: str, rng: random.Random, *, severity: tuple[float, float]
) -> Draft | None:
    """Add a flaw to a draft; None if it has that kind already or there is no place for it.

    Args:
        draft: stays as it is.
        kind: a name in ``FACTS``, `defects.BROKEN` or `defects.DEGRADED`.
        rng: decides where and how.
        severity: range of a defect's severity; a false fact is false whatever the severity.
    """
    if kind in draft.kinds:
        return None
    if kind in FACTS:
        changed = FACTS[kind](draft, rng)
    else:
        defect = Defect(kind, rng.uniform(*severity), rng.random())
        changed = replace(draft, defects=(*draft.defects, defect))
    return changed and replace(changed, kinds=(*draft.kinds, kind))


def _regroup(draft: Draft, groups: list[Group], *touched: str) -> Draft:
    description = replace(draft.description, groups=tuple(groups))
    return replace(draft, description=description, touched=draft.touched | set(touched))


def _pick(draft: Draft, rng: random.Random) -> int | None:
    """Pick a group that is still as asked for."""
    groups = draft.description.groups
    free = [i for i, group in enumerate(groups) if group.shape not in draft.touched]
    return rng.choice(free) if free else None


def _colour(draft: Draft, rng: random.Random) -> Draft | None:
    groups, index = list(draft.description.groups), _pick(draft, rng)
    if index is None:
        return None
    taken = {group.colour for group in groups}
    groups[index] = replace(
        groups[index], colour=rng.choice([c for c in COLOURS if c not in taken])
    )
    return _regroup(draft, groups, groups[index].shape)


def _shape(draft: Draft, rng: random.Random) -> Draft | None:
    groups, index = list(draft.description.groups), _pick(draft, rng)
    if index is None:
        return None
    shape = _unused_shape(draft, rng)
    groups[index] = replace(groups[index], shape=shape)
    return _regroup(draft, groups, shape)


def _unused_shape(draft: Draft, rng: random.Random) -> str:
    taken = {group.shape for group in draft.description.groups} | draft.touched
    return rng.choice([shape for shape in SHAPES if shape not in taken])


def _size(draft: Draft, rng: random.Random) -> Draft | None:
    groups, index = list(draft.description.groups), _pick(draft, rng)
    if index is None or groups[index].size is None:
        return None
    size = next(name for name in RADII_PX if name != groups[index].size)
    groups[index] = replace(groups[index], size=size)
    return _regroup(draft, groups, groups[index].shape)


def _count(draft: Draft, rng: random.Random) -> Draft | None:
    groups, index = list(draft.description.groups), _pick(draft, rng)
    if index is None or draft.description.links:
        return None
    count = groups[index].count
    most = MAX_OBJECTS - sum(group.count for group in groups) + count
    others = [n for n in range(1, most + 1) if n != count]
    if not others:
        return None
    groups[index] = replace(groups[index], count=rng.choice(others))
    return _regroup(draft, groups, groups[index].shape)


def _relation(draft: Draft, rng: random.Random) -> Draft | None:
    description = draft.description
    if not description.links:
        return None
    links = list(description.links)
    index = rng.randrange(len(links))
    other = rng.choice([name for name in RELATIONS if name != links[index].relation])
    links[index] = replace(links[index], relation=other)
    return replace(draft, description=replace(description, links=tuple(links)))


def _background(draft: Draft, rng: random.Random) -> Draft | None:
    asked = draft.description.background
    if asked is None:
        return None
    other = rng.choice([name for name in BACKGROUNDS if name != asked])
    return replace(draft, description=replace(draft.description, background=other))


def _swap(draft: Draft, rng: random.Random) -> Draft | None:
    groups = list(draft.description.groups)
    free = [i for i, group in enumerate(groups) if group.shape not in draft.touched]
    if len(free) < 2:
        return None
    i, j = rng.sample(free, 2)
    colours = groups[i].colour, groups[j].colour
    groups[i] = replace(groups[i], colour=colours[1])
    groups[j] = replace(groups[j], colour=colours[0])
    return _regroup(draft, groups, groups[i].shape, groups[j].shape)


def _missing(draft: Draft, rng: random.Random) -> Draft | None:
    index = _pick(draft, rng)
    description = draft.description
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
    groups = list(draft.description.groups)
    if sum(group.count for group in groups) >= MAX_OBJECTS:
        return None
    taken = {group.colour for group in groups}
    shape = _unused_shape(draft, rng)
    groups.append(Group(shape, rng.choice([c for c in COLOURS if c not in taken])))
    return _regroup(draft, groups, shape)


FACTS: dict[str, Change] = {
    "background": _background,
    "colour": _colour,
    "count": _count,
    "extra": _extra,
    "missing": _missing,
    "relation": _relation,
    "shape": _shape,
    "size": _size,
    "swap": _swap,
}
