"""Finds what is asked for in a picture, from its pixels alone."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selma.pocket.captions import any_of
from selma.pocket.judge import detect_all
from selma.pocket.render import corners_of
from selma.pocket.scenes import COLOURS, RADII_PX, SHAPES

_ASKED = re.compile(rf"(?:.*\ban? )?(?:({any_of(COLOURS)}) )?({any_of(SHAPES)})")
Found = tuple[int, tuple[float, float, float, float], float]  # query, box, confidence


def find_all(
    pictures: Sequence[NDArray[np.uint8]], queries: Sequence[Sequence[str]]
) -> list[list[Found]]:
    """Find each picture's objects that its queries name; RecordError as `detect_all`.

    Args:
        pictures: (CANVAS_PX, CANVAS_PX, 3) each.
        queries: of each picture, as "image of a red circle"; what this world lacks is not found.

    Returns:
        Of each picture, an object for each query that it fits: the query's place, the box (x, y,
        width, height as fractions) of an object of its size, and the confidence.
    """
    return [
        [
            (place, _box(item.shape, item.size, item.x, item.y), item.confidence)
            for place, query in enumerate(asked)
            if (wanted := _ASKED.fullmatch(query))
            for item in seen.objects
            if wanted[1] in (None, item.colour) and wanted[2] == item.shape
        ]
        for seen, asked in zip(detect_all(pictures), queries, strict=True)
    ]


def _box(shape: str, size: str, x: float, y: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = map(float, corners_of(shape, RADII_PX[size], x, y))
    return left, top, right - left, bottom - top
