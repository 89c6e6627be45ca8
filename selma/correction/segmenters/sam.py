"""SAM (arXiv 2304.02643) as a segmenter; SLD's own (arXiv 2311.16090)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.correction.layout import Box
from selma.correction.segmenters.protocol import Candidates, candidates_of, pixel_corners
from selma.correction.weights import read_image_processor, read_model

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Sam:
    """Three candidates for each box: a part, a whole and what holds both, says the paper."""

    model: Any  # SamModel
    processor: Any  # SamProcessor

    def segment(self, picture: "Image", boxes: Sequence[Box]) -> list[Candidates]:
        import torch

        if not boxes:
            return []
        corners = [pixel_corners(picture, boxes)]
        inputs = self.processor(picture, input_boxes=corners, return_tensors="pt")
        device, dtype = self.model.device, self.model.dtype
        with torch.inference_mode():
            outputs = self.model(
                pixel_values=inputs["pixel_values"].to(device, dtype),
                input_boxes=inputs["input_boxes"].to(device, dtype),
                multimask_output=True,
            )
            (masks,) = self.processor.image_processor.post_process_masks(
                outputs.pred_masks.float(), inputs["original_sizes"],
                inputs["reshaped_input_sizes"],
            )  # fmt: skip
        return candidates_of(masks, outputs.iou_scores[0])


def load_sam(path: Path, *, dtype: str, device: str) -> Sam:
    """Read a SamModel with its image processor; raises as `load_segmenter`."""
    from transformers import SamModel, SamProcessor
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    model = read_model(path, SamModel, ["sam"], dtype=dtype, device=device)
    return Sam(model, SamProcessor(read_image_processor(path, SamImageProcessorPil)))
