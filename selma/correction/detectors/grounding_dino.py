"""Grounding DINO (arXiv 2303.05499) as a detector."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.correction.detections import QUERY_PREFIX
from selma.correction.detectors.protocol import Asked, RawBox, detect_in_batches, raw_boxes
from selma.correction.weights import read_image_processor, read_model, read_tokenizer

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

ENDS = str.maketrans(".?", "  ")  # what the model takes for the end of a phrase


@dataclass(frozen=True)
class Text:
    """Some of a picture's queries, as one text of phrases that end in full stops."""

    ids: list[int]
    phrases: dict[int, slice]  # a query's place → where its tokens stand


@dataclass(frozen=True)
class GroundingDino:
    """Each box's query is the one whose tokens fit it best; its score is the best token's sigmoid.

    Queries lose "image of", which is no part of a phrase. Those that do not fit into one text, of
    256 tokens in the published models, are asked in several passes. Pictures of different sizes are
    not put in one batch, where one would be padded to the other's size.
    """

    model: Any  # GroundingDinoForObjectDetection
    tokenizer: Any
    image_processor: Any  # GroundingDinoImageProcessorPil
    batch_size: int  # pictures at a time

    def detect(
        self, pictures: "Sequence[Image]", queries: Sequence[Sequence[str]]
    ) -> list[list[RawBox]]:
        return detect_in_batches(pictures, queries, self.batch_size, self._look)

    def _look(self, asked: Sequence[Asked]) -> list[list[RawBox]]:
        found: list[list[RawBox]] = [[] for _ in asked]
        todo = [
            (picture.size, place, text)
            for place, (picture, queries) in enumerate(asked)
            for text in self._texts(queries)
        ]
        for _, same in groupby(sorted(todo, key=lambda one: one[:2]), key=lambda one: one[0]):
            batch = list(same)
            for start in range(0, len(batch), self.batch_size):
                part = batch[start : start + self.batch_size]
                pictures = [asked[place][0] for _, place, _ in part]
                seen = self._boxes(pictures, [text for _, _, text in part])
                for (_, place, _), boxes in zip(part, seen, strict=True):
                    found[place] += boxes
        return found

    def _texts(self, queries: Sequence[str]) -> Iterator[Text]:
        """Put the queries into as few texts as hold them, in their order."""
        begin, stop, end = self.tokenizer.convert_tokens_to_ids(["[CLS]", ".", "[SEP]"])
        positions = self.model.config.text_config.max_position_embeddings
        most = min(self.model.config.max_text_len, positions) - 2  # for a full stop and the end
        ids: list[int] = [begin]
        phrases: dict[int, slice] = {}
        for place, query in enumerate(queries):
            words = query.removeprefix(QUERY_PREFIX).translate(ENDS).lower()
            own = self.tokenizer(words, add_special_tokens=False)["input_ids"][: most - 1]
            if phrases and len(ids) + len(own) > most:
                yield Text([*ids, end], phrases)
                ids, phrases = [begin], {}
            phrases[place] = slice(len(ids), len(ids) + len(own))
            ids += [*own, stop]
        yield Text([*ids, end], phrases)

    def _boxes(self, pictures: "list[Image]", texts: Sequence[Text]) -> list[list[RawBox]]:
        import torch

        pixels = self.image_processor(pictures, return_tensors="pt").to(self.model.device)
        padded = self.tokenizer.pad({"input_ids": [one.ids for one in texts]}, return_tensors="pt")
        tokens = padded.to(self.model.device)
        with torch.inference_mode():
            outputs = self.model(
                pixel_values=pixels["pixel_values"].to(self.model.dtype),
                pixel_mask=pixels["pixel_mask"],
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"],
                token_type_ids=torch.zeros_like(tokens["input_ids"]),
            )  # fmt: skip
        return [
            _boxes_of(logits.float(), boxes.float(), text)
            for logits, boxes, text in zip(outputs.logits, outputs.pred_boxes, texts, strict=True)
        ]


def _boxes_of(logits: "torch.Tensor", boxes: "torch.Tensor", text: Text) -> list[RawBox]:
    """Read n boxes: logits of tokens (n, T), x, y of the centre, width, height (n, 4)."""
    import torch

    phrases = [logits[:, own].amax(dim=1) for own in text.phrases.values() if own.stop > own.start]
    places = [place for place, own in text.phrases.items() if own.stop > own.start]
    if not phrases:
        return []
    best, label = torch.stack(phrases, dim=1).max(dim=1)  # (n,)
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)
    return raw_boxes(torch.tensor(places, device=label.device)[label], corners, best.sigmoid())


def load_grounding_dino(path: Path, *, dtype: str, device: str, batch_size: int) -> GroundingDino:
    """Read a GroundingDinoForObjectDetection with its processor; raises as `load_detector`."""
    from transformers import GroundingDinoForObjectDetection as Model
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    model = read_model(path, Model, ["grounding-dino"], dtype=dtype, device=device)
    tokenizer = read_tokenizer(path, model.config.text_config.vocab_size)
    processor = read_image_processor(path, GroundingDinoImageProcessorPil)
    return GroundingDino(model, tokenizer, processor, batch_size)
