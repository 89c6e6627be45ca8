"""Pictures as the CLIP and BLIP scorers want them: one explicit resize, never a backend's choice.

Image processors of transformers give other pixels with and without torchvision; this one does not.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selma.core.choices import choose
from selma.core.errors import MissingDataError, RecordError
from selma.core.files import write_json

IMAGE_SETTINGS_FILE = "preprocessor_config.json"
PILLOW_BICUBIC = "pillow-bicubic"
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP, BLIP, PickScore, HPS and ImageReward
OPENAI_STANDARD_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")


@dataclass(frozen=True)
class ImageSettings:
    """How a picture becomes a model's input."""

    size_px: int  # edge of the square that the model sees
    mean: tuple[float, float, float]  # of each channel (R, G, B), of values in [0, 1]
    standard_deviation: tuple[float, float, float]
    resize: str = PILLOW_BICUBIC  # a key of `RESIZES`

    def __str__(self) -> str:
        words = choose("resize method", self.resize, RESIZES).words
        return (
            f"RGB, {words}: shorter side to {self.size_px} px and centre crop, "
            f"mean {self.mean}, standard deviation {self.standard_deviation}"
        )


def read_image_settings(directory: Path) -> ImageSettings:
    """Read a model's preprocessor_config.json, in the layout of transformers.

    The file cannot name a way of resizing beyond its filter; what is read is `PILLOW_BICUBIC`.
    Raises MissingDataError without the file, RecordError if it lacks a value or asks for other
    steps than `preprocess` takes.
    """
    path = directory / IMAGE_SETTINGS_FILE
    if not path.exists():
        raise MissingDataError(f"{path}: not found; run `dvc pull`")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        other_steps = _other_steps(values)
        size, crop = _edges(values["size"]), _edges(values["crop_size"])
        red, green, blue = (float(value) for value in values["image_mean"])
        red_width, green_width, blue_width = (float(value) for value in values["image_std"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path}: not an image processor's config: {error!r}") from error
    if other_steps:
        raise RecordError(
            f"{path}: asks for {', '.join(other_steps)}; expected a bicubic resize of the shorter "
            "side, a centre crop and normalised values"
        )
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
        "do_convert_rgb": True,
        **dict.fromkeys(_STEPS, True),
        "image_mean": list(settings.mean),
        "image_processor_type": "CLIPImageProcessor",
        "image_std": list(settings.standard_deviation),
        "resample": int(Image.Resampling.BICUBIC),
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": settings.size_px},
    }
    write_json(directory / IMAGE_SETTINGS_FILE, values)


def preprocess(
    pictures: Sequence[NDArray[np.uint8]], settings: ImageSettings
) -> NDArray[np.float32]:
    """Resize the shorter side, cut the centre out and normalise: (N, 3, size_px, size_px) float32.

    `pictures` are (H, W, 3) each. ConfigError: there is no such way of resizing.
    """
    square = choose("resize method", settings.resize, RESIZES).square
    squares = np.stack([square(picture, settings.size_px) for picture in pictures])  # (N, S, S, 3)
    mean = np.asarray(settings.mean, np.float32)
    deviation = np.asarray(settings.standard_deviation, np.float32)
    return np.ascontiguousarray(((squares - mean) / deviation).transpose(0, 3, 1, 2))


def resized_shape(height: int, width: int, size_px: int) -> tuple[int, int]:
    """Compute the shape whose shorter side is `size_px`; the longer side is rounded down."""
    short = min(height, width)
    return int(height * size_px / short), int(width * size_px / short)


@dataclass(frozen=True)
class Resize:
    """One way from a picture to a square."""

    words: str  # what it does, for the record
    # (H, W, 3) uint8 and S → float32 in about [0, 1], whose shorter side is S.
    scale: Callable[[NDArray[np.uint8], int], NDArray[np.float32]]
    offset: Callable[[float], int]  # half a side's surplus → how much of it is cut off first

    def square(self, picture: NDArray[np.uint8], size_px: int) -> NDArray[np.float32]:
        scaled = self.scale(picture, size_px)
        top, left = (self.offset((length - size_px) / 2) for length in scaled.shape[:2])
        return scaled[top : top + size_px, left : left + size_px]


def _pillow_bicubic(picture: NDArray[np.uint8], size_px: int) -> NDArray[np.float32]:
    height, width = picture.shape[:2]
    if min(height, width) != size_px:
        new_height, new_width = resized_shape(height, width, size_px)
        image = Image.fromarray(picture).resize((new_width, new_height), Image.Resampling.BICUBIC)
        picture = np.asarray(image)
    return _unit_range(picture)


def _tensor_bicubic(
    picture: NDArray[np.uint8], size_px: int, *, antialias: bool
) -> NDArray[np.float32]:
    """Resize after the values were brought to [0, 1]; the result may overshoot that range."""
    import torch

    values = _unit_range(picture)  # (H, W, 3)
    height, width = picture.shape[:2]
    if min(height, width) == size_px:
        return values
    tensor = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
    resized = torch.nn.functional.interpolate(
        tensor,
        size=resized_shape(height, width, size_px),
        mode="bicubic",
        align_corners=False,
        antialias=antialias,
    )  # (1, 3, H', W')
    return np.asarray(resized[0].permute(1, 2, 0).numpy())


def _unit_range(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return picture.astype(np.float32) / np.float32(255)


RESIZES: dict[str, Resize] = {
    # transformers' CLIP processor without torchvision
    PILLOW_BICUBIC: Resize(
        "Pillow's bicubic filter, crop offset rounded down", _pillow_bicubic, math.floor
    ),
    # torchvision with a Pillow image: OpenAI's CLIP, ImageReward
    "pillow-bicubic-torchvision": Resize(
        "Pillow's bicubic filter, crop offset rounded half to even", _pillow_bicubic, round
    ),
    # torchvision up to 0.16 with a float tensor
    "tensor-bicubic": Resize(
        "torch's bicubic interpolation of float32 values without antialias, not clamped, crop "
        "offset rounded half to even",
        partial(_tensor_bicubic, antialias=False),
        round,
    ),
    # torchvision from 0.17 on with a float tensor
    "tensor-bicubic-antialias": Resize(
        "torch's bicubic interpolation of float32 values with antialias, not clamped, crop offset "
        "rounded half to even",
        partial(_tensor_bicubic, antialias=True),
        round,
    ),
}


def _other_steps(values: dict[str, Any]) -> list[str]:
    """Name what the file asks for and `preprocess` does not do; older files leave most out."""
    other = [f"{step}={values[step]}" for step in _STEPS if values.get(step, True) is not True]
    if values.get("resample", Image.Resampling.BICUBIC) != Image.Resampling.BICUBIC:
        other.append(f"resample={values['resample']}")
    if abs(values.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        other.append(f"rescale_factor={values['rescale_factor']}")
    if isinstance(values["size"], dict) and set(values["size"]) != {"shortest_edge"}:
        other.append(f"size={values['size']}")
    return other


def _edges(size: int | dict[str, int]) -> set[int]:
    return {size} if isinstance(size, int) else set(size.values())
