"""True scenes, errors put into them, and what a faultless detector sees."""

import random
from collections.abc import Callable
from dataclasses import replace

from selma.correction.detections import Detection
from selma.correction.layout import Box, Layout
from selma.correction.naming import name_layout
from selma.correction.scene import Label
from selma.correction.scene import Scene as Wanted
from selma.pocket.scenes import (
    CANVAS_PX,
    COLOURS,
    GAP_PX,
    MARGIN_PX,
    RADII_PX,
    SHAPES,
    SceneObject,
)

Objects = list[SceneObject]


def free_spot(objects: Objects, rng: random.Random) -> SceneObject | None:
    """A small object of a random kind that touches no other; None if there is no room."""
    radius = RADII_PX["small"]
    for _ in range(500):
        x, y = (rng.uniform(radius + MARGIN_PX, CANVAS_PX - radius - MARGIN_PX) for _ in "xy")
        clear = all(
            (x - one.x) ** 2 + (y - one.y) ** 2 >= (radius + RADII_PX[one.size] + GAP_PX) ** 2
            for one in objects
        )
        if clear:
            return SceneObject(rng.choice(SHAPES), rng.choice(list(COLOURS)), "small", x, y)
    return None


def drop(objects: Objects, rng: random.Random) -> Objects:
    gone = rng.randrange(len(objects))
    return objects[:gone] + objects[gone + 1 :]


def duplicate(objects: Objects, rng: random.Random) -> Objects:
    spot, twin = free_spot(objects, rng), rng.choice(objects)
    return [*objects, replace(spot, shape=twin.shape, colour=twin.colour)] if spot else objects


def recolour(objects: Objects, rng: random.Random) -> Objects:
    place = rng.randrange(len(objects))
    other = rng.choice([colour for colour in COLOURS if colour != objects[place].colour])
    return [*objects[:place], replace(objects[place], colour=other), *objects[place + 1 :]]


def swap(objects: Objects, rng: random.Random) -> Objects:
    if len(objects) < 2:
        return objects
    first, second = rng.sample(range(len(objects)), 2)
    one, other = objects[first], objects[second]
    changed = list(objects)
    changed[first] = replace(one, x=other.x, y=other.y)
    changed[second] = replace(other, x=one.x, y=one.y)
    return changed


def nothing(objects: Objects, rng: random.Random) -> Objects:
    return list(objects)


ERRORS: dict[str, Callable[[Objects, random.Random], Objects]] = {
    "nothing": nothing, "drop": drop, "duplicate": duplicate, "recolour": recolour, "swap": swap,
}  # fmt: skip


def box_of(one: SceneObject) -> Box:
    radius, canvas = RADII_PX[one.size], CANVAS_PX
    left, top = (one.x - radius) / canvas, (one.y - radius) / canvas
    side = round(2 * radius / canvas, 3)
    return Box(round(left, 3), round(top, 3), side, side)


def seen(objects: Objects, wanted: Wanted) -> Layout:
    """What is named when each object is seen by its noun and by all labels that are true of it."""
    labels = [*wanted.attributed, *(Label(None, noun) for noun in wanted.nouns)]
    found = [
        Detection(label, box_of(one), 0.9)
        for label in labels
        for one in objects
        if label.noun == one.shape
        and set((label.attribute or "").split()) <= {one.colour, one.size}
    ]
    return name_layout(wanted, found, duplicate_iou=0.7)
