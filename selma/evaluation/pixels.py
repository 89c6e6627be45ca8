"""Pictures as the CLIP and BLIP scorers want them: one explicit resize, never a backend's choice.

Image processors of transformers give other pixels with and without torchvision; this one does not.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selma.errors import MissingDataError, RecordError

IMAGE_SETTINGS_FILE = "preprocessor_config.json"


@dataclass(frozen=True)
class ImageSettings:
    """How a picture becomes a model's input.

    Attributes:
        size_px: edge of the square that the model sees.
        mean: taken from each channel (R, G, B), of values in [0, 1].
        standard_deviation: each channel is divided by it.
    """

    size_px: int
    mean: tuple[float, float, float]
    standard_deviation: tuple[float, float, float]


def read_image_settings(directory: Path) -> ImageSettings:
    """Read a model's preprocessor_config.json, in the layout of transformers.

    Raises:
        MissingDataError: the file is not there.
        RecordError: it lacks a value, or asks for a crop that is not the resized square.
    """
    path = directory / IMAGE_SETTINGS_FILE
    if not path.exists():
        raise MissingDataError(f"{path}: not found; run `dvc pull`")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        size, crop = _edges(values["size"]), _edges(values["crop_size"])
        red, green, blue = (float(value) for value in values["image_mean"])
        red_width, green_width, blue_width = (float(value) for value in values["image_std"])
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: not an image processor's config: {error!r}") from error
    if len(size | crop) != 1:
        raise RecordError(
            f"{path}: size {size} and crop_size {crop} differ; they must be one square"
        )
    return ImageSettings(size.pop(), (red, green, blue), (red_width, green_width, blue_width))


def write_image_settings(settings: ImageSettings, directory: Path) -> None:
    """Write preprocessor_config.json as transformers' CLIPImageProcessor reads it."""
    square = {"height": settings.size_px, "width": settings.size_px}
    values = {
        "crop_size": square,
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(settings.mean),
        "image_processor_type": "CLIPImageProcessor",
        "image_std": list(settings.standard_deviation),
        "resample": int(Image.Resampling.BICUBIC),
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": settings.size_px},
    }
    text = json.dumps(values, indent=2, sort_keys=True) + "\n"
    (directory / IMAGE_SETTINGS_FILE).write_text(text, encoding="utf-8")


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """Read an encoded picture as RGB, (H, W, 3).

    Raises:
        RecordError: the bytes are no picture.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise RecordError(f"a picture of {len(data)} bytes cannot be read: {error}") from error


def preprocess(
    pictures: Sequence[NDArray[np.uint8]], settings: ImageSettings
) -> NDArray[np.float32]:
    """Resize, crop and normalise pictures: Pillow's bicubic on the shorter side, then the centre.

    Args:
        pictures: each (H, W, 3) uint8.
        settings: what the model expects.

    Returns:
        (N, 3, size_px, size_px) float32.
    """
    squares = np.stack([_square(picture, settings.size_px) for picture in pictures])  # (N, S, S, 3)
    mean = np.asarray(settings.mean, np.float32)
    deviation = np.asarray(settings.standard_deviation, np.float32)
    scaled = (squares.astype(np.float32) / np.float32(255) - mean) / deviation
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))  # (N, 3, S, S)


def _square(picture: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    short = min(height, width)
    if short != size_px:
        new_size = (int(width * size_px / short), int(height * size_px / short))
        picture = np.asarray(
            Image.fromarray(picture).resize(new_size, resample=Image.Resampling.BICUBIC)
        )
        height, width = picture.shape[:2]
    top, left = (height - size_px) // 2, (width - size_px) // 2
    return picture[top : top + size_px, left : left + size_px]


def _edges(size: int | dict[str, int]) -> set[int]:
    return {size} if isinstance(size, int) else set(size.values())
