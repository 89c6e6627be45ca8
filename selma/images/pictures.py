"""Pictures as PNG in table rows."""

import functools
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.errors import BackendError, RecordError
from selma.seeds import derive_seed

PNG_COMPRESS_LEVEL = 6


@dataclass(frozen=True)
class Request:
    """A picture to draw: the `sample`-th of the prompt with this id."""

    item_id: str
    sample: int
    prompt: str
    seed: int


def make_requests(
    prompts: Mapping[str, str], per_prompt: int, root_seed: int, *names: str
) -> list[Request]:
    """Ask for pictures of prompts, with seeds that come from what is drawn.

    Args:
        prompts: prompt by id.
        per_prompt: pictures of each prompt.
        root_seed: the run's seed.
        names: what the ids belong to, e.g. ``"images", skill``.
    """
    return [
        Request(item_id, sample, prompt, derive_seed(root_seed, *names, item_id, sample))
        for item_id, prompt in sorted(prompts.items())
        for sample in range(per_prompt)
    ]


def to_uint8(pixels: NDArray[np.float32], names: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Round pixels to 256 levels.

    Args:
        pixels: (N, H, W, 3) in [0, 1].
        names: one per picture, for the message.

    Raises:
        BackendError: a picture holds values that are not finite.
    """
    for name, picture in zip(names, pixels, strict=True):
        if not np.isfinite(picture).all():
            raise BackendError(
                f"the picture of {name!r} is not finite; "
                "use backbone.dtype float32 or a smaller merge.scale"
            )
    return list(np.round(pixels * 255).astype(np.uint8))


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Write a picture (H, W, 3) as PNG without metadata; the same pixels give the same bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=PNG_COMPRESS_LEVEL)
    return buffer.getvalue()


def decode_png(data: bytes, name: str) -> NDArray[np.uint8]:
    """Read a picture (H, W, 3).

    Raises:
        RecordError: the bytes are not a whole picture; `name` says whose.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise RecordError(f"{name}: not a whole picture ({error}); run `dvc repro`") from error


def picture_row(request: Request, picture: NDArray[np.uint8]) -> dict[str, Any]:
    """Make the row of a `samples` table."""
    data = encode_png(picture)
    return {
        "item_id": request.item_id,
        "sample": request.sample,
        "image": {"bytes": data, "path": None},
        "prompt": request.prompt,
        "seed": request.seed,
        "width": picture.shape[1],
        "height": picture.shape[0],
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def as_images(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Turn rows of a `samples` table into rows of an `images` table, keyed by prompt_id."""
    return [
        {"prompt_id": row["item_id"], **{k: v for k, v in row.items() if k != "item_id"}}
        for row in rows
    ]


def count_black(rows: Iterable[Mapping[str, Any]]) -> int:
    """Count the pictures that are black all over, as a failed decoder or a filter leaves them."""
    return sum(row["sha256"] == _black_sha256(row["width"], row["height"]) for row in rows)


@functools.cache
def _black_sha256(width: int, height: int) -> str:
    return hashlib.sha256(encode_png(np.zeros((height, width, 3), np.uint8))).hexdigest()
