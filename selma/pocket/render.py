"""Draws a scene: anti-aliased flat shapes on a plain background."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selma.pocket.scenes import BACKGROUNDS, CANVAS_PX, COLOURS, RADII_PX, Scene

SUPERSAMPLES = 4  # per pixel and axis
Coordinates = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _star_corners() -> NDArray[np.float64]:
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, 1.05, 0.44)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)  # (10, 2)


_STAR = _star_corners()


def _inside_star(u: Coordinates, v: Coordinates) -> Mask:
    inside = np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=bool)
    for (x0, y0), (x1, y1) in zip(_STAR, np.roll(_STAR, -1, axis=0), strict=True):
        crosses = (y0 > v) != (y1 > v)
        inside ^= crosses & (u < (x1 - x0) * (v - y0) / (y1 - y0) + x0)
    return inside


def _inside_heart(u: Coordinates, v: Coordinates) -> Mask:
    x, y = u * 1.22, -v * 1.22 + 0.12
    return np.asarray((x * x + y * y - 1) ** 3 - x * x * y**3 <= 0)


# Each tells which points lie in the shape of radius 1 around the origin; v grows downwards.
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


def coverage(
    shape: str, radius_px: float, x: float, y: float, canvas_px: int
) -> NDArray[np.float64]:
    """Give the share of each pixel that a shape covers.

    Args:
        shape: a name in ``SHAPES``.
        radius_px: its radius.
        x: centre, in pixels from the left border.
        y: centre, in pixels from the upper border.
        canvas_px: side of the square canvas.

    Returns:
        (canvas_px, canvas_px) in [0, 1].
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


def render(scene: Scene) -> NDArray[np.uint8]:
    """Draw a scene as an RGB picture, (CANVAS_PX, CANVAS_PX, 3), uint8."""
    canvas = np.empty((CANVAS_PX, CANVAS_PX, 3))
    canvas[:] = BACKGROUNDS[scene.background]
    for item in scene.objects:
        share = coverage(item.shape, RADII_PX[item.size], item.x, item.y, CANVAS_PX)[..., None]
        canvas = canvas * (1 - share) + np.array(COLOURS[item.colour]) * share
    return np.rint(canvas).astype(np.uint8)
