"""Pictures of any size and mode on the canvas of an editor, and back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from selma.core.errors import RecordError
from selma.correction.layout import Box
from selma.pictures.folder import READABLE_MODES

if TYPE_CHECKING:
    from PIL.Image import Image

GRAY, WHITE = (128, 128, 128), (255, 255, 255)


@dataclass(frozen=True)
class Fit:
    """Where on a canvas a picture lies, in pixels."""

    picture: tuple[int, int]  # width, height of the picture as it came
    canvas: tuple[int, int]
    inner: tuple[int, int, int, int]  # left, top, width, height on the canvas

    def onto_canvas(self, box: Box) -> Box:
        """The fractions of the canvas of a box in fractions of the picture."""
        (wide, high), (left, top, width, height) = self.canvas, self.inner
        return Box(
            (left + box.x * width) / wide, (top + box.y * height) / high,
            box.width * width / wide, box.height * height / high,
        )  # fmt: skip

    def back(self, edited: "Image") -> "Image":
        """Cut the picture out of an edited canvas, which may have another size, in its own size."""
        from PIL.Image import Resampling

        x, y = (new / old for new, old in zip(edited.size, self.canvas, strict=True))
        left, top, width, height = self.inner
        area = (left * x, top * y, (left + width) * x, (top + height) * y)
        if area == (0, 0, *self.picture):
            return edited.copy()
        return edited.resize(self.picture, Resampling.LANCZOS, box=area)


def to_rgb(picture: "Image") -> "Image":
    """Turn a picture as its EXIF entry says, lay it on white where it is clear, make it RGB.

    Raises:
        RecordError: its mode has more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    if picture.mode not in READABLE_MODES:
        raise RecordError(f"is of mode {picture.mode}; save it with 8 bits a channel")
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data:
        clear = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", clear.size, (*WHITE, 255)), clear)
    return upright.convert("RGB")


def fit_to_canvas(picture: "Image", canvas: tuple[int, int]) -> tuple["Image", Fit]:
    """Lay a picture in the middle of a gray canvas, as large as it fits, in its own shape.

    Args:
        picture: of any size; see `to_rgb` for modes.
        canvas: width, height in pixels.
    """
    from PIL import Image
    from PIL.Image import Resampling

    inner = to_rgb(picture)
    own = inner.size
    scale = min(canvas[0] / own[0], canvas[1] / own[1])
    width, height = max(1, round(own[0] * scale)), max(1, round(own[1] * scale))
    left, top = (canvas[0] - width) // 2, (canvas[1] - height) // 2
    laid = Image.new("RGB", canvas, GRAY)
    if own != (width, height):
        inner = inner.resize((width, height), Resampling.LANCZOS)
    laid.paste(inner, (left, top))
    return laid, Fit(own, canvas, (left, top, width, height))
