"""SAM 3, asked in words, as a detector; "SAM 3: Segment Anything with Concepts", Meta, 2025."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.correction.detections import QUERY_PREFIX
from selma.correction.detectors.protocol import Asked, RawBox, detect_in_batches, raw_boxes
from selma.correction.square_pixels import SquarePixels, read_square_pixels
from selma.correction.weights import read_model, read_tokenizer

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Sam3:
    """Every query is asked apart: a place may be seen as several labels.

    The score is the box's sigmoid times that of the query's presence in the picture. Queries lose
    "image of" and the article: the model was trained on short noun phrases.
    """

    model: Any  # Sam3Model
    tokenizer: Any
    pixels: SquarePixels
    batch_size: int  # queries at a time, about one picture

    def detect(
        self, pictures: "Sequence[Image]", queries: Sequence[Sequence[str]]
    ) -> list[list[RawBox]]:
        return detect_in_batches(pictures, queries, 1, self._look)

    def _look(self, asked: Sequence[Asked]) -> list[list[RawBox]]:
        import torch

        ((picture, queries),) = asked
        device, dtype = self.model.device, self.model.dtype
        found: list[RawBox] = []
        with torch.inference_mode():
            seen = self.model.get_vision_features(self.pixels(picture).to(device, dtype))
            for start in range(0, len(queries), self.batch_size):
                found += self._ask(seen, queries[start : start + self.batch_size], start)
        return [found]

    def _ask(self, seen: Any, queries: Sequence[str], first: int) -> list[RawBox]:
        """Ask what stands at `first` and behind it among a picture's queries."""
        import torch

        most = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            [noun_phrase(query) for query in queries],
            padding="max_length", truncation=True, max_length=most, return_tensors="pt",
        ).to(self.model.device)  # fmt: skip
        outputs = self.model(
            vision_embeds=_repeated(seen, len(queries)),
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"],
        )  # fmt: skip
        scores = outputs.pred_logits.float().sigmoid()  # (Q, n)
        if outputs.presence_logits is not None:
            scores = scores * outputs.presence_logits.float().sigmoid()
        places = torch.arange(first, first + len(queries))[:, None].expand(scores.shape)
        return raw_boxes(
            places.flatten(), outputs.pred_boxes.float().flatten(0, 1), scores.flatten()
        )


def _repeated(seen: Any, times: int) -> Any:
    """Show a picture's features to several queries, without copies."""
    levels = {
        name: tuple(level.expand(times, -1, -1, -1) for level in seen[name])
        for name in ("fpn_hidden_states", "fpn_position_encoding")
    }
    return type(seen)(**levels)


def noun_phrase(query: str) -> str:
    """Cut a query down to its noun with attributes."""
    words = query.removeprefix(QUERY_PREFIX).split()
    return " ".join(words[1:] if words[0] in ("a", "an") and len(words) > 1 else words)


def load_sam3(path: Path, *, dtype: str, device: str, batch_size: int) -> Sam3:
    """Read a Sam3Model with its processor; raises as `load_detector`.

    The published folder holds a `sam3_video`, of which the detector is a part.
    """
    from transformers import Sam3Model

    model = read_model(path, Sam3Model, ["sam3", "sam3_video"], dtype=dtype, device=device)
    tokenizer = read_tokenizer(path, model.config.text_config.vocab_size)
    return Sam3(model, tokenizer, read_square_pixels(path), batch_size)
