"""OWLv2 (arXiv 2306.09683) as a detector; SLD's own (arXiv 2311.16090)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.correction.detectors.protocol import (
    LOWEST_SCORE,
    Asked,
    RawBox,
    detect_in_batches,
    raw_boxes,
)
from selma.correction.weights import read_image_processor, read_model, read_tokenizer

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


@dataclass(frozen=True)
class Owlv2:
    """Every patch of a picture has one box; its query is the one it fits best.

    The score is the sigmoid of the largest logit. Pictures are padded to a square at the right or
    the bottom. A query is cut to what the text tower reads, 16 tokens in the published models.
    """

    model: Any  # Owlv2ForObjectDetection
    tokenizer: Any
    image_processor: Any  # Owlv2ImageProcessorPil
    batch_size: int  # pictures at a time

    def detect(
        self, pictures: "Sequence[Image]", queries: Sequence[Sequence[str]]
    ) -> list[list[RawBox]]:
        return detect_in_batches(pictures, queries, self.batch_size, self._look)

    def _look(self, asked: Sequence[Asked]) -> list[list[RawBox]]:
        import torch

        pictures = [picture for picture, _ in asked]
        pixels = self.image_processor(pictures, return_tensors="pt")["pixel_values"]
        ids, mask = self._tokens([texts for _, texts in asked])
        device, dtype = self.model.device, self.model.dtype
        with torch.inference_mode():
            outputs = self.model(
                input_ids=ids.to(device), attention_mask=mask.to(device),
                pixel_values=pixels.to(device, dtype),
            )  # fmt: skip
        found = self.image_processor.post_process_object_detection(
            outputs,
            threshold=LOWEST_SCORE,
            target_sizes=[(one.height, one.width) for one in pictures],
        )
        return [
            raw_boxes(seen["labels"], seen["boxes"] / _corners_of(picture, seen), seen["scores"])
            for picture, seen in zip(pictures, found, strict=True)
        ]

    def _tokens(self, texts: Sequence[Sequence[str]]) -> "tuple[torch.Tensor, torch.Tensor]":
        """Tokenise B pictures' queries, filled up to Q each: ids and mask, (B·Q, T).

        A row that begins with 0 is no query to the model; the stock processor fills up with a text
        of one space, which boxes then take for what they show.
        """
        import torch

        most = max(map(len, texts))
        flat = [text for own in texts for text in own]
        tokens = self.tokenizer(
            flat, padding=True, truncation=True, return_tensors="pt",
            max_length=self.model.config.text_config.max_position_embeddings,
        )  # fmt: skip
        rows = [n * most + place for n, own in enumerate(texts) for place in range(len(own))]
        ids, mask = (
            torch.zeros(len(texts) * most, part.shape[1], dtype=torch.long).index_copy_(
                0, torch.tensor(rows), part
            )
            for part in (tokens["input_ids"], tokens["attention_mask"])
        )
        mask[:, 0] = 1  # attention over nothing would be no number
        return ids, mask


def _corners_of(picture: "Image", like: "dict[str, torch.Tensor]") -> "torch.Tensor":
    return like["boxes"].new_tensor([picture.width, picture.height] * 2)


def load_owlv2(path: Path, *, dtype: str, device: str, batch_size: int) -> Owlv2:
    """Read an Owlv2ForObjectDetection with its processor; raises as `load_detector`."""
    from transformers import Owlv2ForObjectDetection
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    model = read_model(path, Owlv2ForObjectDetection, ["owlv2"], dtype=dtype, device=device)
    tokenizer = read_tokenizer(path, model.config.text_config.vocab_size)
    processor = read_image_processor(path, Owlv2ImageProcessorPil)
    return Owlv2(model, tokenizer, processor, batch_size)
