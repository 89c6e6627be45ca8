"""Pictures as PNG; the same pixels give the same bytes."""

import functools
import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selma.core.errors import RecordError

PNG_COMPRESS_LEVEL = 6
UNREADABLE = (OSError, SyntaxError, TypeError, ValueError, EOFError)


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Write a picture (H, W, 3) as PNG without metadata; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=PNG_COMPRESS_LEVEL)
    return buffer.getvalue()


def decode_png(data: bytes, name: str) -> NDArray[np.uint8]:
    """Read an encoded picture as RGB, (H, W, 3); RecordError, with `name`, if it is broken."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (
        OSError,
        SyntaxError,
        TypeError,
        ValueError,
        EOFError,
        Image.DecompressionBombError,
    ) as error:
        raise RecordError(
            f"{name}: {len(data)} bytes are not a whole picture ({error}); have it drawn again"
        ) from error


def picture_of(row: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Decode the picture of a samples table's row; raises as `decode_png`."""
    return decode_png(row["image"]["bytes"], f"{row['item_id']}/{row['sample']}")


def count_black(rows: Iterable[Mapping[str, Any]]) -> int:
    """Count the pictures that are black all over, as a failed decoder or a filter leaves them."""
    return sum(row["sha256"] == _black_sha256(row["width"], row["height"]) for row in rows)


@functools.cache
def _black_sha256(width: int, height: int) -> str:
    return hashlib.sha256(encode_png(np.zeros((height, width, 3), np.uint8))).hexdigest()
