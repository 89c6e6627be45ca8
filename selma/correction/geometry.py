"""Where a moved object goes: the picture resized so that it fits, and the cells that are copied."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.core.choices import choose
from selma.correction.layout import Box

if TYPE_CHECKING:
    from PIL.Image import Image

_ROUNDING = 1e-9  # 0.29 · 100 is a little below 29


@dataclass(frozen=True)
class Resized:
    """How a whole picture is resized so that one of its objects has the size that it shall have.

    The resized picture is cut to the old size from (`left`, `top`) on; where it is smaller, it lies
    in the top-left corner of a canvas of the old size.
    """

    scale: float
    width: int  # of the resized picture, pixels
    height: int
    left: int
    top: int
    box: Box  # of the object, in fractions of what is cut out or of the canvas


def scale_to_fit(old: Box, new: Box) -> float:
    """The factor by which an object of box `old` just fits into `new`; it keeps its shape."""
    return min(new.width / old.width, new.height / old.height)


def resize_for(old: Box, new: Box, *, width: int, height: int) -> Resized:
    """Say how to resize a picture of some pixels so that the object in `old` fits into `new`.

    A larger picture is cut from the object's left and top edge on, as far as the picture goes.
    """
    scale = scale_to_fit(old, new)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left = min(_floor(old.x * wide), max(0, wide - width))
    top = min(_floor(old.y * high), max(0, high - height))
    box = Box(
        (old.x * wide - left) / width, (old.y * high - top) / height,
        old.width * wide / width, old.height * high / height,
    )  # fmt: skip
    return Resized(scale, wide, high, left, top, box)


def resize_picture(picture: "Image", way: Resized) -> "Image":
    """Resize a picture as `resize_for` says, no more of it than is needed; white where it ends."""
    from PIL import Image
    from PIL.Image import Resampling

    if way.scale < 1:
        canvas = Image.new("RGB", picture.size, "white")
        canvas.paste(picture.resize((way.width, way.height), Resampling.BOX))
        return canvas
    wide, high = picture.width / way.width, picture.height / way.height
    right, bottom = way.left + picture.width, way.top + picture.height
    part = (way.left * wide, way.top * high, right * wide, bottom * high)
    return picture.resize(picture.size, Resampling.BILINEAR, box=part)


@dataclass(frozen=True)
class Cells:
    """A rectangle of a grid's cells."""

    left: int
    top: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def cells_of(box: Box, grid: tuple[int, int]) -> Cells:
    """The cells of a grid (rows, columns) that a box covers, by truncation; never none."""
    left, width = _interval(box.x, box.right, grid[1])
    top, height = _interval(box.y, box.bottom, grid[0])
    return Cells(left, top, width, height)


def _interval(low: float, high: float, cells: int) -> tuple[int, int]:
    start = min(max(_floor(low * cells), 0), cells - 1)
    end = min(max(_floor(high * cells), start + 1), cells)
    return start, end - start


def _floor(value: float) -> int:
    return int(np.floor(value + _ROUNDING))


# Free cells → cells left of it and above it.
Align = Callable[[int, int], tuple[int, int]]
ALIGNMENTS: dict[str, Align] = {
    "top_left": lambda columns, rows: (0, 0),  # as the published code does
    "centre": lambda columns, rows: (columns // 2, rows // 2),
    "bottom": lambda columns, rows: (columns // 2, rows),
}


@dataclass(frozen=True)
class Transfer:
    """The cells that are copied, and those they are copied to; of one size."""

    source: Cells
    target: Cells


def transfer(source: Box, target: Box, grid: tuple[int, int], alignment: str) -> Transfer:
    """Say which cells of a resized picture go where, all of them inside the target box's cells.

    Args:
        source: the object's box in the resized picture; see `Resized`.
        target: where it shall be.
        grid: rows and columns.
        alignment: of `ALIGNMENTS`; where in a target that it does not fill.
    """
    align = choose("alignment", alignment, ALIGNMENTS)
    own, place = cells_of(source, grid), cells_of(target, grid)
    width, height = min(own.width, place.width), min(own.height, place.height)
    right, down = align(place.width - width, place.height - height)
    return Transfer(
        Cells(own.left, own.top, width, height),
        Cells(place.left + right, place.top + down, width, height),
    )


def move_cells(
    values: NDArray[Any], mask: NDArray[np.bool_], way: Transfer
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Copy an object's cells to where they shall be; new arrays, and nothing wraps around.

    Args:
        values: of the resized picture, (..., rows, columns).
        mask: the object in it, (rows, columns).
        way: from where to where.

    Returns:
        The values with the object at its new place too, and its mask there.
    """
    own, place = way.source.slices, way.target.slices
    chosen = mask[own]
    moved, there = values.copy(), np.zeros_like(mask)
    there[place] = chosen
    moved[(..., *place)] = np.where(chosen, values[(..., *own)], values[(..., *place)])
    return moved, there
