"""Fills a masked region of a picture of any size by a stock inpainting pipeline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import BackendError
from selma.correction.canvas import Fit, fit_to_canvas
from selma.correction.masks import Mask

if TYPE_CHECKING:
    from PIL.Image import Image

Cells = tuple[int, int]  # a latent cell's height and width, pixels


@dataclass(frozen=True)
class Wish:
    """What shall stand in a region."""

    prompt: str
    negative_prompt: str
    strength: float  # in (0, 1]; 1: drawn from noise alone
    seed: int


class Filler:
    """An inpainting pipeline that redraws the pixels of a mask and no other."""

    def __init__(
        self, pipeline: Any, canvas: tuple[int, int], *, inference_steps: int,
        guidance_scale: float, feather_px: int,
    ) -> None:  # fmt: skip
        """Take a pipeline, the size (width, height) that it draws, and settings for all calls."""
        self.canvas, self.feather_px = canvas, feather_px
        self._pipeline = pipeline
        self._options = {
            "num_inference_steps": inference_steps, "guidance_scale": guidance_scale,
            "width": canvas[0], "height": canvas[1], "output_type": "np",
        }  # fmt: skip

    def scale(self, picture: "Image") -> float:
        """How many of a picture's pixels are one of the canvas, along each side."""
        return max(own / there for own, there in zip(picture.size, self.canvas, strict=True))

    def fill(self, picture: "Image", mask: Mask, wish: Wish) -> "Image":
        """Redraw the pixels of a mask (height, width); all others stay exactly as they are.

        The pipeline redraws each latent cell that the mask touches. BackendError if it fails, or
        gives numbers that are not finite.
        """
        import torch

        if not mask.any():
            return picture
        laid, fit = fit_to_canvas(picture, self.canvas)
        generator = torch.Generator("cpu").manual_seed(wish.seed)
        try:
            (drawn,) = self._pipeline(
                prompt=wish.prompt, negative_prompt=wish.negative_prompt, image=laid,
                mask_image=self._on_canvas(mask, fit), strength=wish.strength,
                generator=generator, **self._options,
            ).images  # fmt: skip
        except (ValueError, RuntimeError) as error:
            raise BackendError(f"the inpainting pipeline failed: {error}") from error
        feather_px = round(self.feather_px * self.scale(picture))
        return composite(picture, fit.back(_to_picture(drawn)), mask, feather_px)

    def _on_canvas(self, mask: Mask, fit: Fit) -> "Image":
        from PIL import Image
        from PIL.Image import Resampling

        left, top, width, height = fit.inner
        inner = Image.fromarray(mask.astype(np.float32)).resize((width, height), Resampling.BOX)
        laid = np.zeros((fit.canvas[1], fit.canvas[0]), dtype=bool)
        laid[top : top + height, left : left + width] = np.asarray(inner) > 0
        side = int(self._pipeline.vae_scale_factor)
        return Image.fromarray(whole_cells(laid, (side, side)).astype(np.uint8) * 255)


def whole_cells(mask: Mask, cell: Cells) -> Mask:
    """Widen a mask to all of each cell that it touches; the mask's sides are multiples of a cell's.

    A pipeline takes one pixel of each latent cell for all of it.
    """
    rows, columns = (size // side for size, side in zip(mask.shape, cell, strict=True))
    touched = mask.reshape(rows, cell[0], columns, cell[1]).any(axis=(1, 3))  # (rows, columns)
    return np.repeat(np.repeat(touched, cell[0], axis=0), cell[1], axis=1)


def composite(before: "Image", after: "Image", mask: Mask, feather_px: int) -> "Image":
    """Take the pixels of a mask from `after`, the more the farther they are from its edge.

    Args:
        before: an RGB picture; its pixels outside the mask are the result's, exactly.
        after: an RGB picture of the same size.
        mask: (height, width).
        feather_px: how far inside of the mask `after` is reached; 0: at the edge.
    """
    from PIL import Image
    from scipy.ndimage import distance_transform_edt

    if mask.all():
        return after
    depth = distance_transform_edt(mask)  # 1 at the edge; the picture's border is none
    share = np.clip(depth / (feather_px + 1), 0, 1)[..., None]  # (height, width, 1)
    old, new = (np.asarray(one, dtype=np.float64) for one in (before, after))
    mixed = np.rint(old * (1 - share) + new * share).astype(np.uint8)
    return Image.fromarray(np.where(mask[..., None], mixed, np.asarray(before)))


def _to_picture(drawn: NDArray[np.float32]) -> "Image":
    from PIL import Image

    if not np.isfinite(drawn).all():
        raise BackendError(
            "the inpainting pipeline drew values that are not finite; use the editor's dtype "
            "float32 or bfloat16"
        )
    return Image.fromarray(np.rint(drawn * 255).astype(np.uint8))
