"""Segmenters without a model: the box itself, and what stands out from a flat background."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.correction.layout import Box
from selma.correction.segmenters.protocol import Candidates, pixel_corners

if TYPE_CHECKING:
    from PIL.Image import Image

Mask = NDArray[np.bool_]

SURROUNDINGS = 0.08  # how far they reach around a box, as a share of the picture's shorter side
FULL_COLOUR = 0.9  # quantile of the colour distances in a box that an object's inside has
LEAST_CONTRAST = 12.0  # of 256 levels in RGB: below, nothing stands out


@dataclass(frozen=True)
class BoxSegmenter:
    """The pixels whose centres lie in the box."""

    def segment(self, picture: "Image", boxes: Sequence[Box]) -> list[Candidates]:
        corners = pixel_corners(picture, boxes)
        return [_only(pixels_in(picture.size, own)) for own in corners]


@dataclass(frozen=True)
class ContrastSegmenter:
    """The pixels in the box at least half as far from the surroundings' colour as its inside is.

    For flat objects on a flat background: there it is what the object covers by half or more.
    If nothing in the box stands out, it is the box.
    """

    def segment(self, picture: "Image", boxes: Sequence[Box]) -> list[Candidates]:
        values = np.asarray(picture.convert("RGB"), np.float64)
        corners = pixel_corners(picture, boxes)
        return [_only(self._stands_out(values, picture.size, own)) for own in corners]

    def _stands_out(
        self, values: NDArray[np.float64], size: tuple[int, int], corners: Sequence[float]
    ) -> Mask:
        inside = pixels_in(size, corners)
        reach = max(1.0, SURROUNDINGS * min(size))
        left, top, right, bottom = corners
        around = pixels_in(size, (left - reach, top - reach, right + reach, bottom + reach))
        around &= ~inside
        if not around.any():
            return inside
        background = np.median(values[around], axis=0)  # (3,)
        distance = np.linalg.norm(values - background, axis=-1)  # (height, width)
        full = float(np.quantile(distance[inside], FULL_COLOUR))
        return inside & (distance >= full / 2) if full >= LEAST_CONTRAST else inside


def pixels_in(size: tuple[int, int], corners: Sequence[float]) -> Mask:
    """Mark the pixels whose centres lie in a box, at least one, (height, width).

    Args:
        size: width, height in pixels.
        corners: left, top, right, bottom in pixels.
    """
    spans = []
    for length, low, high in zip(size, corners[:2], corners[2:], strict=True):
        centres = np.arange(length) + 0.5
        span = (centres >= low) & (centres < high)
        if not span.any():
            span[np.abs(centres - (low + high) / 2).argmin()] = True
        spans.append(span)
    columns, rows = spans
    return np.logical_and.outer(rows, columns)


def _only(mask: Mask) -> Candidates:
    return Candidates(mask[None], np.ones(1))
