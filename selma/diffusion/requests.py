"""Pictures to draw, and the table rows they become."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import BackendError
from selma.core.seeds import derive_seed
from selma.pictures.png import encode_png


@dataclass(frozen=True)
class Request:
    """A picture to draw: the `sample`-th of the prompt with this id."""

    item_id: str
    sample: int
    prompt: str
    seed: int


def make_requests(
    prompts: Mapping[str, str], per_prompt: int, root_seed: int, *names: str, first: int = 0
) -> list[Request]:
    """Ask for `per_prompt` pictures of prompts (by id), with seeds that come from what is drawn.

    `names` say what the ids belong to, e.g. ``"images", skill``; `first` is the number of a
    prompt's first picture.
    """
    return [
        Request(item_id, sample, prompt, derive_seed(root_seed, *names, item_id, sample))
        for item_id, prompt in sorted(prompts.items())
        for sample in range(first, first + per_prompt)
    ]


def to_uint8(pixels: NDArray[np.float32], names: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Round pixels (N, H, W, 3) in [0, 1] to 256 levels.

    BackendError, with the picture's name, if one holds values that are not finite.
    """
    for name, picture in zip(names, pixels, strict=True):
        if not np.isfinite(picture).all():
            raise BackendError(
                f"the picture of {name!r} is not finite; "
                "use backbone.dtype float32 or a smaller merge.scale"
            )
    return list(np.round(pixels * 255).astype(np.uint8))


def picture_row(request: Request, picture: NDArray[np.uint8]) -> dict[str, Any]:
    """Make the row of a `samples` table."""
    data = encode_png(picture)
    size = {"width": picture.shape[1], "height": picture.shape[0]}
    image = {"bytes": data, "path": None}
    sha256 = hashlib.sha256(data).hexdigest()
    return {**asdict(request), **size, "image": image, "sha256": sha256}


def as_images(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Turn rows of a `samples` table into rows of an `images` table, keyed by prompt_id."""
    return [
        {"prompt_id": row["item_id"], **{k: v for k, v in row.items() if k != "item_id"}}
        for row in rows
    ]
