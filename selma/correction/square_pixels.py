"""Pixels for models that see every picture as one square, resized by Pillow.

The image processors of SAM 2 and SAM 3 in transformers need torchvision; this reads their files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import RecordError
from selma.correction.weights import image_settings

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


@dataclass(frozen=True)
class SquarePixels:
    """A square's size, and how its values are scaled; the picture fills it, whatever its shape."""

    size: tuple[int, int]  # width, height
    resample: int  # one of Pillow's filters
    mean: NDArray[np.float32]  # of values in [0, 1], (3,)
    deviation: NDArray[np.float32]  # (3,)

    def __call__(self, picture: "Image") -> "torch.Tensor":
        """Prepare an RGB picture, (1, 3, height, width)."""
        import torch

        resized = picture.resize(self.size, self.resample)
        values = np.asarray(resized, np.float32) / np.float32(255)  # (height, width, 3)
        scaled = (values - self.mean) / self.deviation
        return torch.from_numpy(scaled).permute(2, 0, 1)[None].contiguous()


def read_square_pixels(folder: Path) -> SquarePixels:
    """Read an image processor's settings; raises as `weights.read_image_processor`."""
    settings = image_settings(folder)
    try:
        size = settings["size"]
        return SquarePixels(
            (int(size["width"]), int(size["height"])),
            int(settings["resample"]),
            np.array(settings["image_mean"], np.float32).reshape(3),
            np.array(settings["image_std"], np.float32).reshape(3),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{folder}: its image processor's settings lack {error}; expected size with height and "
            "width, resample, image_mean, image_std"
        ) from error
