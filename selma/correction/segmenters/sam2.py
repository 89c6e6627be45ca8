"""SAM 2 (arXiv 2408.00714) as a segmenter."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.correction.layout import Box
from selma.correction.segmenters.protocol import Candidates, candidates_of
from selma.correction.square_pixels import SquarePixels, read_square_pixels
from selma.correction.weights import read_model

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Sam2:
    """Three candidates for each box, as `sam.Sam`; the picture fills the model's square."""

    model: Any  # Sam2Model
    pixels: SquarePixels

    def segment(self, picture: "Image", boxes: Sequence[Box]) -> list[Candidates]:
        import torch

        if not boxes:
            return []
        device, dtype = self.model.device, self.model.dtype
        wide, high = self.pixels.size
        corners = [
            [box.x * wide, box.y * high, box.right * wide, box.bottom * high] for box in boxes
        ]
        with torch.inference_mode():
            outputs = self.model(
                pixel_values=self.pixels(picture).to(device, dtype),
                input_boxes=torch.tensor([corners], device=device, dtype=dtype),
                multimask_output=True,
            )
            logits = torch.nn.functional.interpolate(
                outputs.pred_masks[0].float(), (picture.height, picture.width),
                mode="bilinear", align_corners=False,
            )  # (n, 3, height, width)  # fmt: skip
        return candidates_of(logits > 0, outputs.iou_scores[0])


def load_sam2(path: Path, *, dtype: str, device: str) -> Sam2:
    """Read a Sam2Model with its image processor; raises as `load_segmenter`.

    The published folders hold a `sam2_video`, of which the image model is a part.
    """
    from transformers import Sam2Model

    model = read_model(path, Sam2Model, ["sam2", "sam2_video"], dtype=dtype, device=device)
    return Sam2(model, read_square_pixels(path))
