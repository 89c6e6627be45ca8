"""ViLT (arXiv 2102.03334) as a judge: one encoder reads picture and question and picks an answer.

So only the pixels and the patch embeddings can be shared between the questions about a picture.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence
from transformers import ViltForQuestionAnswering

from selma.core.errors import RecordError
from selma.judges.protocol import Judge, JudgeSettings
from selma.judges.weights import load_config, load_parts, tokenize


def load_vilt(settings: JudgeSettings) -> Judge:
    """Load a ViLT for visual question answering; raises as `load_judge`.

    It classifies, so beams and tokens do not matter. Patches stand in the picture's order. The
    stock model shuffles them with torch's global generator, which changes the last bits of a
    result, and drops patches at random if there are more than `max_image_length`; a model that asks
    for that is refused. A question with more tokens than the model reads (40 in the published one)
    is a RecordError.
    """
    config = load_config(settings, "vilt")
    if config.max_image_length != -1:
        raise RecordError(
            f"{settings.path}/config.json: max_image_length is {config.max_image_length}, patches "
            "would be dropped at random; it must be -1"
        )
    labels = [config.id2label[index] for index in range(config.num_labels)]
    if all(label.startswith("LABEL_") for label in labels):
        raise RecordError(f"{settings.path}/config.json: id2label gives no answers")
    parts = load_parts(settings, config, ViltForQuestionAnswering, padding_side="right")

    def encode(picture: NDArray[np.uint8]) -> torch.Tensor:
        return embed_patches(parts.model, parts.pixels(picture)["pixel_values"])

    def answer(patches: Sequence[torch.Tensor], texts: Sequence[str]) -> list[str]:
        tokens = tokenize(parts.tokenizer, texts, config.max_position_embeddings, settings.device)
        image_embeds, mask = pad_patches(patches)
        logits = parts.model(**tokens, image_embeds=image_embeds, pixel_mask=mask).logits  # (N, A)
        return [labels[index] for index in logits.float().argmax(dim=1).tolist()]

    decoding = {"kind": "classification", "answers": len(labels)}
    return parts.judge(decoding, encode=encode, answer=answer)


def embed_patches(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Embed one picture, (1, 3, H, W), as (1 + P, D): the class token, then patches in order."""
    everywhere = torch.ones_like(pixel_values[:, 0], dtype=torch.long)  # (1, H, W)
    with torch.random.fork_rng(devices=[]):
        embeds, _, (places, (_, columns)) = model.vilt.embeddings.visual_embed(
            pixel_values, everywhere, max_image_length=-1
        )
    order = (places[0, :, 0] * columns + places[0, :, 1]).argsort()  # (P,)
    ordered: torch.Tensor = torch.cat([embeds[0, :1], embeds[0, 1:][order]])
    return ordered


def pad_patches(patches: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack N pictures, each (1 + P, D), to (N, L, D); the mask (N, L) is 0 where one is padded."""
    ones = [torch.ones(len(one), dtype=torch.long, device=one.device) for one in patches]
    return pad_sequence(list(patches), batch_first=True), pad_sequence(ones, batch_first=True)
