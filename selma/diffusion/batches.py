"""Draws batch after batch and keeps each, so that a stage that dies goes on where it was."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import MissingDataError, RecordError
from selma.core.tables import read_table, write_table
from selma.diffusion.backbone import Backbone
from selma.diffusion.requests import Request, picture_row, to_uint8
from selma.diffusion.sampling import draw_batch

logger = logging.getLogger(__name__)
DrawBatch = Callable[[Sequence[Request]], Sequence[NDArray[np.uint8]]]


def draw_resumably(
    requests: Sequence[Request],
    draw: DrawBatch,
    directory: Path,
    batch_size: int,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Draw all requests in fixed batches and keep each batch as a file.

    A batch always holds the same requests, so a restart ends in the same bytes.

    Args:
        requests: with unique (item_id, sample).
        draw: gives one picture (H, W, 3) per request.
        directory: where finished batches lie; a file left by an earlier run is taken up.
        batch_size: requests drawn at once.
        advance: told the number of pictures after each batch.

    Returns:
        Rows of a `samples` table, sorted by key.
    """
    ordered = sorted(requests, key=lambda request: (request.item_id, request.sample))
    rows: list[dict[str, Any]] = []
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        path = directory / f"batch-{start // batch_size:06d}.parquet"
        kept = _finished(path, batch)
        if kept is None:
            kept = [
                picture_row(request, picture)
                for request, picture in zip(batch, draw(batch), strict=True)
            ]
            write_table(path, "samples", kept)
        rows += kept
        advance(len(batch))
    return rows


def _finished(path: Path, batch: Sequence[Request]) -> list[dict[str, Any]] | None:
    """Read a finished batch; None if it is not there, damaged or of other requests."""
    try:
        rows = read_table(path, "samples")
    except MissingDataError:
        return None
    except RecordError as error:
        logger.warning("drawing a batch again: %s", error)
        return None
    drawn = [Request(row["item_id"], row["sample"], row["prompt"], row["seed"]) for row in rows]
    return rows if drawn == list(batch) else None


def batch_drawer(backbone: Backbone, *, guidance_scale: float, inference_steps: int) -> DrawBatch:
    """Give the function that draws a batch of requests with a backbone."""

    def draw(batch: Sequence[Request]) -> list[NDArray[np.uint8]]:
        pixels = draw_batch(
            [request.prompt for request in batch],
            [request.seed for request in batch],
            backbone,
            guidance_scale=guidance_scale,
            inference_steps=inference_steps,
        )
        return to_uint8(pixels, [f"{request.item_id}/{request.sample}" for request in batch])

    return draw
