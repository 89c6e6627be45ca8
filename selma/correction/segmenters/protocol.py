"""What a segmenter is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from selma.correction.layout import Box

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class Candidates(NamedTuple):
    """What may be the object in a box: one mask, or several of growing extent."""

    masks: NDArray[np.bool_]  # (k, height, width) of the whole picture
    confidences: NDArray[np.float64]  # the segmenter's own estimate of each mask's IoU, (k,)


class Segmenter(Protocol):
    """Finds the object in a box."""

    def segment(self, picture: "Image", boxes: Sequence[Box]) -> list[Candidates]:
        """Find what each box holds; a box's result does not depend on the others.

        Args:
            picture: RGB, of any size.
            boxes: inside the picture.
        """
        ...


def pixel_corners(picture: "Image", boxes: Sequence[Box]) -> list[list[float]]:
    """Compute left, top, right, bottom of boxes in pixels."""
    width, height = picture.size
    return [
        [box.x * width, box.y * height, box.right * width, box.bottom * height] for box in boxes
    ]


def candidates_of(masks: "torch.Tensor", confidences: "torch.Tensor") -> list[Candidates]:
    """Take apart the masks (n, k, height, width), boolean, and estimates (n, k) of n boxes."""
    estimates = confidences.double().cpu().numpy()
    return [Candidates(own, sure) for own, sure in zip(masks.cpu().numpy(), estimates, strict=True)]
