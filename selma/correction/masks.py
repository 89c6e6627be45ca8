"""Masks on the latent grid: from a segmenter's candidates to what is removed, pasted, frozen."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selma.correction.geometry import cells_of
from selma.correction.layout import Box

Mask = NDArray[np.bool_]

CERTAIN = 0.85  # a segmenter's own estimate from which a candidate is believed
OVERLAP = 0.25  # IoU with the box from which a candidate is the object's


def union_of(masks: Sequence[Mask], shape: tuple[int, int]) -> Mask:
    """All that some mask covers; nothing if there is none."""
    covered = np.zeros(shape, dtype=bool)
    for mask in masks:
        covered |= mask
    return covered


def to_grid(candidates: Mask, *, dilation_px: int, grid: tuple[int, int]) -> Mask:
    """Unite a segmenter's candidates, dilate, and take the pixel in the middle of each cell.

    Args:
        candidates: (k, height, width).
        dilation_px: side of the square that dilates, odd; 1 changes nothing.
        grid: rows and columns of the latent.
    """
    if dilation_px < 1 or dilation_px % 2 == 0:
        raise ValueError(f"dilation_px must be odd and at least 1, got {dilation_px}")
    united = _dilated(np.any(candidates, axis=0), dilation_px // 2)
    rows, columns = (
        (2 * np.arange(cells) + 1) * size // (2 * cells)
        for cells, size in zip(grid, united.shape, strict=True)
    )
    return united[np.ix_(rows, columns)]


def _dilated(mask: Mask, radius: int) -> Mask:
    for axis in (0, 1):
        edge = [(radius, radius) if axis == one else (0, 0) for one in (0, 1)]
        padded = np.pad(mask, edge)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=axis)
        mask = np.any(windows, axis=-1)
    return mask


def removal_mask(
    removed: Sequence[Mask], preserved: Sequence[Mask], *, dilation_px: int, grid: tuple[int, int]
) -> Mask:
    """What becomes background: removed objects and old places of moved ones, not what is kept.

    Args:
        removed: of each removed object and each moved one's old box, (k, height, width).
        preserved: of each preserved object; empty to protect none, as the published demo does.
        dilation_px: see `to_grid`.
        grid: see `to_grid`.
    """
    gone, kept = (
        union_of([to_grid(one, dilation_px=dilation_px, grid=grid) for one in masks], grid)
        for masks in (removed, preserved)
    )
    return gone & ~kept


def choose_candidate(candidates: Mask, confidences: NDArray[np.float64], box: Box) -> int:
    """Choose the mask of a generated object: large, and certain, and where it was asked for.

    An uncertain candidate, and one with little overlap with the box, each count as smaller by the
    largest one's area. The first of equal ones.

    Args:
        candidates: on the latent grid, (k, rows, columns).
        confidences: the segmenter's own estimates, (k,).
        box: where the object was asked for.
    """
    _, rows, columns = candidates.shape
    inside = np.zeros((rows, columns), dtype=bool)
    inside[cells_of(box, (rows, columns)).slices] = True
    areas = candidates.sum(axis=(1, 2)).astype(float)  # (k,)
    shared, joined = (candidates & inside).sum(axis=(1, 2)), (candidates | inside).sum(axis=(1, 2))
    overlap = shared / np.maximum(joined, 1)
    penalties = (confidences < CERTAIN).astype(float) + (overlap < OVERLAP)
    return int(np.argmax(areas - penalties * areas.max()))


def paste_order(masks: Sequence[Mask]) -> list[int]:
    """The order in which layers are pasted, the largest first, so that small ones stay visible."""
    return sorted(range(len(masks)), key=lambda number: -int(masks[number].sum()))


def background_mask(edited: Mask, removal: Mask) -> Mask:
    """Where the picture stays as it is."""
    return ~edited & ~removal


def frozen_mask(edited: Mask, removal: Mask) -> Mask:
    """What the first steps hold fast: all but the hole that nothing covers."""
    return ~(removal & ~edited)
