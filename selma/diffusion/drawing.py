"""The act of drawing: prompts in, a table's rows out; each batch is kept, so it resumes there."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import MissingDataError, RecordError
from selma.core.shards import work_off
from selma.core.tables import read_table, write_table
from selma.diffusion.backbone import Backbone
from selma.diffusion.requests import Request, make_requests, picture_row, to_uint8
from selma.diffusion.sampling import draw_batch
from selma.diffusion.steps import TakeStep, take_step
from selma.pictures.png import count_black

logger = logging.getLogger(__name__)
Advance = Callable[[int], None]
DrawBatch = Callable[[Sequence[Request]], Sequence[NDArray[np.uint8]]]


@dataclass(frozen=True)
class Drawn:
    """Rows of a samples table, sorted by key, and what a person should see of them.

    `counts` has their number `n`, `truncated_prompts` (longer than the text encoder reads; their
    ends go unseen) and `black_images` (black all over, as a failed decoder leaves them).
    """

    rows: list[dict[str, Any]]
    counts: dict[str, int]


def draw(
    prompts: Mapping[str, str],
    backbone: Backbone,
    *,
    names: tuple[str, ...],
    seed: int,
    per_prompt: int,
    guidance_scale: float,
    inference_steps: int,
    batch_size: int,
    directory: Path,
    advance: Advance,
    take_step: TakeStep = take_step,
    first: int = 0,
) -> Drawn:
    """Draw `per_prompt` pictures of each prompt; a picture's seed comes from what it is.

    `prompts` are by id; `names` say what the ids belong to, e.g. ``("images", skill)``, and are a
    part of each seed. `guidance_scale` is of classifier-free guidance, 1.0 is off. `directory`
    keeps finished batches; those of an earlier run are taken up. `advance` is called with the
    number of pictures after each batch. `take_step` is what is done in each step, by default stock
    guidance. `first` is the number of a prompt's first picture. BackendError if a picture is not
    finite.
    """
    requests = make_requests(prompts, per_prompt, seed, *names, first=first)
    drawer = batch_drawer(
        backbone, guidance_scale=guidance_scale, inference_steps=inference_steps,
        take_step=take_step,
    )  # fmt: skip
    rows = draw_resumably(requests, drawer, directory, batch_size, advance)
    truncated = backbone.count_truncated(list(prompts.values()))
    counts = {"pictures": len(rows), "truncated_prompts": truncated}
    return Drawn(rows, counts | {"black_images": count_black(rows)})


def draw_resumably(
    requests: Sequence[Request], draw: DrawBatch, directory: Path, batch_size: int, advance: Advance
) -> list[dict[str, Any]]:
    """Draw requests with unique (item_id, sample) in batches; rows of `samples`, sorted by key.

    `draw` makes one picture (H, W, 3) per request. A batch always holds the same requests and is
    kept as a file in `directory`, so a restart ends in the same bytes, and several processes share
    the work. `advance` is called with the number of pictures after each batch.
    """

    def path_of(number: int) -> Path:
        return directory / f"batch-{number:06d}.parquet"

    def make(number: int, batch: Sequence[Request]) -> list[dict[str, Any]]:
        rows = [picture_row(*one) for one in zip(batch, draw(batch), strict=True)]
        write_table(path_of(number), "samples", rows)
        return rows

    batches = work_off(
        sorted(requests, key=lambda request: (request.item_id, request.sample)),
        batch_size,
        kept=lambda number, batch: _finished(path_of(number), batch),
        make=make,
        advance=advance,
    )
    return [row for rows in batches for row in rows]


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


def batch_drawer(backbone: Backbone, **settings: Any) -> DrawBatch:
    """Make the function that draws a batch of requests, with settings of `draw_batch`."""

    def draw(batch: Sequence[Request]) -> list[NDArray[np.uint8]]:
        prompts, seeds = [one.prompt for one in batch], [one.seed for one in batch]
        pixels = draw_batch(prompts, seeds, backbone, **settings)
        return to_uint8(pixels, [f"{request.item_id}/{request.sample}" for request in batch])

    return draw
