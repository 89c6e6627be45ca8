"""Draws pictures with defects: broken objects and bad pixels."""

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from selma.foundation.flaws import Defect
from selma.pocket.render import coverage, object_shares
from selma.pocket.scenes import (
    BACKGROUNDS,
    CANVAS_PX,
    COLOURS,
    RADII_PX,
    SHAPES,
    Scene,
    SceneObject,
)

Floats = NDArray[np.float64]


def blur(values: Floats, sigma_px: float) -> Floats:
    """Blur the first two axes with a Gaussian; borders repeat."""
    reach = int(3 * sigma_px) + 1
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        width = np.zeros((values.ndim, 2), int)
        width[axis] = reach
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


BROKEN: dict[str, Callable[[Floats, SceneObject, float, random.Random], Floats]] = {
    "half_drawn": _half_drawn,
    "melted": lambda share, _item, severity, _rng: blur(share, 1.0 + 1.8 * severity),
    "merged": _merged,
    "smeared": _smeared,
}


def _muddy(picture: Floats, severity: float, generator: np.random.Generator) -> Floats:
    mixed = picture + (picture.mean((0, 1)) - picture) * (0.2 + 0.45 * severity)
    blotches = generator.normal(0, 8 + 22 * severity, (8, 8, 3)).repeat(4, 0).repeat(4, 1)
    return np.asarray(mixed + blur(blotches, 1.5))


DEGRADED: dict[str, Callable[[Floats, float, np.random.Generator], Floats]] = {
    "blurred": lambda picture, severity, _: blur(picture, 0.6 + 1.2 * severity),
    "muddy": _muddy,
    "noisy": lambda picture, severity, g: picture + g.normal(0, 10 + 40 * severity, picture.shape),
}


def paint(scene: Scene, defects: Sequence[Defect], seed: int) -> NDArray[np.uint8]:
    """Draw a scene, (CANVAS_PX, CANVAS_PX, 3); without defects it is `render`'s, byte by byte.

    `seed` decides the details of the defects, whose kinds are in ``BROKEN`` and ``DEGRADED``.
    """
    rng, generator = random.Random(seed), np.random.default_rng(seed)
    shares = object_shares(scene)
    for defect in defects:
        if defect.kind in BROKEN:
            at = int(defect.where * len(shares))
            shares[at] = BROKEN[defect.kind](shares[at], scene.objects[at], defect.severity, rng)
    canvas = np.empty((CANVAS_PX, CANVAS_PX, 3))
    canvas[:] = BACKGROUNDS[scene.background]
    for item, share in zip(scene.objects, shares, strict=True):
        canvas += (np.array(COLOURS[item.colour]) - canvas) * share[..., None]
    for defect in defects:
        if defect.kind in DEGRADED:
            canvas = DEGRADED[defect.kind](canvas, defect.severity, generator)
    return np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)
