"""Ways to make a picture worse: false facts, broken objects, bad pixels.

Each flaw is added to a `Draft`, so that a draft with one flaw more is worse by construction.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selma.pocket.captions import Description, Group, Link
from selma.pocket.render import coverage
from selma.pocket.scenes import (
    BACKGROUNDS,
    CANVAS_PX,
    COLOURS,
    MAX_OBJECTS,
    RADII_PX,
    RELATIONS,
    SHAPES,
    Scene,
    SceneObject,
)

Floats = NDArray[np.float64]


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
        kind: a name in ``FACTS``, ``BROKEN`` or ``DEGRADED``.
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
    groups[index] = replace(groups[index], colour=rng.choice([c for c in COLOURS if c not in taken]))
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


def blur(values: Floats, sigma_px: float) -> Floats:
    """Blur the first two axes with a Gaussian; borders repeat."""
    reach = int(3 * sigma_px) + 1
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        width = [(reach, reach) if a == axis else (0, 0) for a in range(values.ndim)]
        padded = np.pad(values, width, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=axis)
        values = windows @ weights
    return values


def _half_drawn(share: Floats, item: SceneObject, severity: float, rng: random.Random) -> Floats:
    angle, radius = rng.uniform(0, 2 * math.pi), RADII_PX[item.size]
    centres = np.arange(CANVAS_PX) + 0.5
    along = (centres[None, :] - item.x) * math.cos(angle)
    along = along + (centres[:, None] - item.y) * math.sin(angle)
    return np.asarray(share * (along < radius * (0.35 - 0.75 * severity)))


def _smeared(share: Floats, item: SceneObject, severity: float, rng: random.Random) -> Floats:
    angle, length = rng.uniform(0, 2 * math.pi), 3 + 5 * severity
    reach = int(length) + 1
    padded = np.pad(share, reach)
    total = np.zeros_like(share)
    for step in range(reach + 1):
        dx = reach - round(step / reach * length * math.cos(angle))
        dy = reach - round(step / reach * length * math.sin(angle))
        total += padded[dy : dy + CANVAS_PX, dx : dx + CANVAS_PX]
    return np.minimum(1.0, 1.5 * total / (reach + 1))


def _merged(share: Floats, item: SceneObject, severity: float, rng: random.Random) -> Floats:
    shape = rng.choice([name for name in SHAPES if name != item.shape])
    radius, middle = RADII_PX[item.size], CANVAS_PX / 2
    angle = math.atan2(middle - item.y, middle - item.x) + rng.uniform(-0.9, 0.9)
    distance = radius * (0.5 + 0.6 * severity)
    x, y = item.x + distance * math.cos(angle), item.y + distance * math.sin(angle)
    return np.maximum(share, coverage(shape, radius * rng.uniform(0.7, 1.0), x, y, CANVAS_PX))


def _melted(share: Floats, item: SceneObject, severity: float, rng: random.Random) -> Floats:
    return blur(share, 1.0 + 1.8 * severity)


BROKEN: dict[str, Callable[[Floats, SceneObject, float, random.Random], Floats]] = {
    "half_drawn": _half_drawn,
    "melted": _melted,
    "merged": _merged,
    "smeared": _smeared,
}


def _noisy(picture: Floats, severity: float, generator: np.random.Generator) -> Floats:
    return picture + generator.normal(0, 10 + 40 * severity, picture.shape)


def _muddy(picture: Floats, severity: float, generator: np.random.Generator) -> Floats:
    mixed = picture + (picture.mean((0, 1)) - picture) * (0.2 + 0.45 * severity)
    blotches = generator.normal(0, 8 + 22 * severity, (8, 8, 3)).repeat(4, 0).repeat(4, 1)
    return mixed + blur(blotches, 1.5)


def _blurred(picture: Floats, severity: float, generator: np.random.Generator) -> Floats:
    return blur(picture, 0.6 + 1.2 * severity)


DEGRADED: dict[str, Callable[[Floats, float, np.random.Generator], Floats]] = {
    "blurred": _blurred,
    "muddy": _muddy,
    "noisy": _noisy,
}


def object_shares(scene: Scene) -> list[Floats]:
    """Give the share of each pixel that each object covers, (CANVAS_PX, CANVAS_PX) each."""
    return [coverage(o.shape, RADII_PX[o.size], o.x, o.y, CANVAS_PX) for o in scene.objects]


def paint(scene: Scene, draft: Draft, seed: int) -> NDArray[np.uint8]:
    """Draw a scene with a draft's defects, (CANVAS_PX, CANVAS_PX, 3).

    Args:
        scene: made from the draft's description.
        draft: names the defects.
        seed: of the defects' details.
    """
    rng, generator = random.Random(seed), np.random.default_rng(seed)
    shares = object_shares(scene)
    for defect in draft.defects:
        if defect.kind in BROKEN:
            index = int(defect.where * len(shares))
            break_object = BROKEN[defect.kind]
            shares[index] = break_object(shares[index], scene.objects[index], defect.severity, rng)
    canvas = np.empty((CANVAS_PX, CANVAS_PX, 3))
    canvas[:] = BACKGROUNDS[scene.background]
    for item, share in zip(scene.objects, shares, strict=True):
        canvas += (np.array(COLOURS[item.colour]) - canvas) * share[..., None]
    for defect in draft.defects:
        if defect.kind in DEGRADED:
            canvas = DEGRADED[defect.kind](canvas, defect.severity, generator)
    return np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)
