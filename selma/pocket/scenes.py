"""Scenes of the pocket world: what can stand in a picture, and where."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

CANVAS_PX = 32
SHAPES = ("circle", "square", "triangle", "diamond", "star", "heart", "cross", "ring")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 42),
    "orange": (245, 134, 28),
    "yellow": (247, 219, 52),
    "green": (38, 156, 66),
    "cyan": (58, 206, 214),
    "blue": (40, 72, 212),
    "purple": (138, 46, 172),
    "pink": (248, 140, 194),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (248, 248, 248),
    "gray": (146, 146, 146),
    "black": (18, 18, 18),
    "brown": (98, 66, 40),
}
RADII_PX = {"small": 4.2, "large": 6.6}
MAX_OBJECTS = 4
GAP_PX = 1.8  # between the bounding circles of two objects, so that objects never touch
MARGIN_PX = 0.6  # between an object's bounding circle and the border
ATTEMPTS = 4000  # to lay a scene out
RELATIONS = ("left of", "right of", "above", "below")
RELATION_MIN_PX = 5.0  # how far apart two centres must be along a relation's axis
_OFFSETS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


@dataclass(frozen=True)
class Thing:
    """An object without its place."""

    shape: str
    colour: str
    size: str


@dataclass(frozen=True)
class SceneObject(Thing):
    """One flat object; (x, y) is its centre in pixels, y grows downwards."""

    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """A background and one to four objects that do not touch."""

    background: str
    objects: tuple[SceneObject, ...]


Point = tuple[float, float]


def holds(relation: str, first: Point, second: Point) -> bool:
    """Whether `first` stands in `relation` to `second`; both are (x, y) centres in pixels.

    The offset along the relation's axis must be at least ``RELATION_MIN_PX`` and larger than the
    offset across it, so that at most one of the four relations holds for a pair.
    """
    along_x, along_y = _OFFSETS[relation]
    dx, dy = first[0] - second[0], first[1] - second[1]
    along, across = (dx * along_x, dy) if along_x else (dy * along_y, dx)
    return along >= RELATION_MIN_PX and along > abs(across)


Relations = Sequence[tuple[int, str, int]]


def place(things: Sequence[Thing], relations: Relations, rng: random.Random) -> list[Point] | None:
    """Find centres so that nothing touches and every relation holds; None after many attempts.

    Of at most ``MAX_OBJECTS`` things; a relation (i, name, j) is over their indices.
    """
    radii = [RADII_PX[thing.size] for thing in things]
    for attempt in range(ATTEMPTS):
        draw = _anywhere if len(things) < MAX_OBJECTS and attempt % 4 != 3 else _one_per_quadrant
        centres = draw(radii, rng)
        fit = all(holds(name, centres[i], centres[j]) for i, name, j in relations)
        if fit and _apart(centres, radii):
            return centres
    return None


def _anywhere(radii: Sequence[float], rng: random.Random) -> list[Point]:
    spans = [(radius + MARGIN_PX, CANVAS_PX - radius - MARGIN_PX) for radius in radii]
    return [(rng.uniform(*span), rng.uniform(*span)) for span in spans]


def _one_per_quadrant(radii: Sequence[float], rng: random.Random) -> list[Point]:
    half = CANVAS_PX / 2
    corners = [(0.0, 0.0), (half, 0.0), (0.0, half), (half, half)]
    rng.shuffle(corners)
    centres = []
    for radius, (left, top) in zip(radii, corners, strict=False):
        spans = []
        for start in (left, top):
            before, after = (GAP_PX / 2, MARGIN_PX) if start else (MARGIN_PX, GAP_PX / 2)
            spans.append((start + radius + before, start + half - radius - after))
        centres.append((rng.uniform(*spans[0]), rng.uniform(*spans[1])))
    return centres


def _apart(centres: Sequence[Point], radii: Sequence[float]) -> bool:
    pairs = itertools.combinations(zip(centres, radii, strict=True), 2)
    return all(math.dist(a, b) >= r + s + GAP_PX for (a, r), (b, s) in pairs)


def build_scene(
    background: str, things: Sequence[Thing], rng: random.Random, relations: Relations = ()
) -> Scene | None:
    """Place `things` on a background; None if they do not fit."""
    centres = place(things, relations, rng)
    if centres is None:
        return None
    placed = zip(things, centres, strict=True)
    objects = (SceneObject(**vars(thing), x=x, y=y) for thing, (x, y) in placed)
    return Scene(background, tuple(objects))
