"""Draws a scene: anti-aliased flat shapes on a plain background."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from selma.pocket.scenes import BACKGROUNDS, CANVAS_PX, COLOURS, RADII_PX, Scene

SUPERSAMPLES = 4  # per pixel and axis
_REACH, _STEPS = 1.2, 2400  # where a shape of radius 1 is looked for, on how fine a grid
Coordinates = NDArray[np.float64]
Mask = NDArray[np.bool_]


_ANGLES = -np.pi / 2 + np.arange(10) * np.pi / 5
_STAR = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # (10, 2)
_STAR *= np.tile([1.05, 0.44], 5)[:, None]


def _inside_star(u: Coordinates, v: Coordinates) -> Mask:
    inside = np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=bool)
    for (x0, y0), (x1, y1) in zip(_STAR, np.roll(_STAR, -1, axis=0), strict=True):
        crosses = (y0 > v) != (y1 > v)
        inside ^= crosses & (u < (x1 - x0) * (v - y0) / (y1 - y0) + x0)
    return inside


def _inside_heart(u: Coordinates, v: Coordinates) -> Mask:
    x, y = u * 1.22, -v * 1.22 + 0.12
    return np.asarray((x * x + y * y - 1) ** 3 - x * x * y**3 <= 0)


# Which points lie in the shape of radius 1 around the origin; v grows downwards.
INSIDE: dict[str, Callable[[Coordinates, Coordinates], Mask]] = {
    "circle": lambda u, v: u * u + v * v <= 0.92,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 0.84,
    "triangle": lambda u, v: (v <= 0.78) & (np.abs(u) <= (v + 1.0) * 0.56),
    "diamond": lambda u, v: np.abs(u) * 1.42 + np.abs(v) <= 1.04,
    "star": _inside_star,
    "heart": _inside_heart,
    "cross": lambda u, v: (
        (np.minimum(np.abs(u), np.abs(v)) <= 0.31) & (np.maximum(np.abs(u), np.abs(v)) <= 0.96)
    ),
    "ring": lambda u, v: (u * u + v * v <= 1.0) & (u * u + v * v >= 0.30),
}


@cache
def extent(shape: str) -> tuple[float, float, float, float]:
    """Find how far a shape of radius 1 reaches from its centre: left, top, right, bottom.

    To 0.001 of the radius; v grows downwards, so left and top are negative.
    """
    line = np.linspace(-_REACH, _REACH, _STEPS + 1)
    inside = INSIDE[shape](line[None, :], line[:, None])
    across, down = line[inside.any(axis=0)], line[inside.any(axis=1)]
    return float(across[0]), float(down[0]), float(across[-1]), float(down[-1])


def corners_of(shape: str, radius_px: float, x: float, y: float) -> Coordinates:
    """Compute what a shape fills: left, top, right, bottom as fractions of the picture, (4,).

    (x, y) is its centre in pixels.
    """
    return (np.array([x, y, x, y]) + radius_px * np.array(extent(shape))) / CANVAS_PX


def coverage(shape: str, radius_px: float, x: float, y: float, canvas_px: int) -> Coordinates:
    """Measure the share of each pixel that a shape covers, (canvas_px, canvas_px) in [0, 1].

    (x, y) is the shape's centre, in pixels from the left and the upper border.
    """
    reach = radius_px * 1.1 + 1
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    right, bottom = min(canvas_px, int(x + reach) + 1), min(canvas_px, int(y + reach) + 1)
    steps = (np.arange(SUPERSAMPLES) + 0.5) / SUPERSAMPLES
    us = ((np.arange(left, right)[:, None] + steps).ravel() - x) / radius_px
    vs = ((np.arange(top, bottom)[:, None] + steps).ravel() - y) / radius_px
    inside = INSIDE[shape](us[None, :], vs[:, None])
    blocks = inside.reshape(bottom - top, SUPERSAMPLES, right - left, SUPERSAMPLES)
    result = np.zeros((canvas_px, canvas_px))
    result[top:bottom, left:right] = blocks.mean(axis=(1, 3))
    return result


def object_shares(scene: Scene) -> list[Coordinates]:
    """Measure the share of each pixel that each object covers, (CANVAS_PX, CANVAS_PX) each."""
    return [coverage(o.shape, RADII_PX[o.size], o.x, o.y, CANVAS_PX) for o in scene.objects]


def render(scene: Scene) -> NDArray[np.uint8]:
    """Draw a scene as an RGB picture, (CANVAS_PX, CANVAS_PX, 3), uint8."""
    canvas = np.empty((CANVAS_PX, CANVAS_PX, 3))
    canvas[:] = BACKGROUNDS[scene.background]
    for item, share in zip(scene.objects, object_shares(scene), strict=True):
        canvas = canvas * (1 - share[..., None]) + np.array(COLOURS[item.colour]) * share[..., None]
    return np.rint(canvas).astype(np.uint8)
