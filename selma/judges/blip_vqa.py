"""BLIP's question answering model as a judge: it writes its answer with a text decoder.

Source: BLIP, arXiv 2201.12086. As in transformers, and unlike the authors' code, the question
begins with [CLS] and not with [ENC], and is not cut at 35 tokens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.judges.encode_once import EncodeOnceJudge
from selma.judges.protocol import Judge, JudgeSettings
from selma.judges.templates import TEMPLATES
from selma.judges.weights import (
    check_square,
    describe,
    load_config,
    load_image_processor,
    load_model,
    load_tokenizer,
    pixels,
    tokenize,
)

if TYPE_CHECKING:
    import torch


def load_blip_vqa(settings: JudgeSettings) -> Judge:
    """Load a BLIP for visual question answering.

    The vision tower runs once for each picture. The text encoder runs on batches of one picture's
    questions, which share its keys and values; the decoder on batches of questions with equally
    many tokens. BLIP's cross-attention in transformers does not heed the mask that it is given, so
    that the decoder would read the padding of a shorter question too.

    Raises:
        ConfigError: a setting is wrong.
        MissingDataError: there is no such folder.
        MissingDependencyError: a Hub model cannot be had.
        RecordError: a file is missing or damaged, or the files are not of one model; or a question
            has more tokens than the model reads (512 in the published one).
    """
    from transformers import BlipForQuestionAnswering, GenerationConfig

    config = load_config(settings, "blip")
    text = config.text_config
    image_processor = load_image_processor(settings)
    check_square(settings, image_processor, config.vision_config.image_size)
    tokenizer = load_tokenizer(settings, text.vocab_size, padding_side="right")
    model = load_model(BlipForQuestionAnswering, settings)
    decoding = {
        "do_sample": False,
        "early_stopping": False,
        "eos_token_id": text.sep_token_id,
        "length_penalty": 1.0,
        "max_new_tokens": settings.max_new_tokens,
        "no_repeat_ngram_size": 0,
        "num_beams": settings.beams,
        "pad_token_id": text.pad_token_id,
        "repetition_penalty": 1.0,
    }

    def encode(picture: NDArray[np.uint8]) -> "torch.Tensor":
        made = pixels(image_processor, picture, settings.device)
        patches: torch.Tensor = model.vision_model(**made).last_hidden_state
        return patches  # (1, P, D)

    def read(patches: "torch.Tensor", texts: Sequence[str]) -> "list[torch.Tensor]":
        tokens = tokenize(tokenizer, texts, text.max_position_embeddings, settings.device)
        states = model.text_encoder(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            encoder_hidden_states=patches,  # (1, P, D), seen by all N texts
        ).last_hidden_state  # (N, T, D)
        lengths = tokens.attention_mask.sum(dim=1).tolist()
        return [one[:length] for one, length in zip(states, lengths, strict=True)]

    def answer(read: "Sequence[torch.Tensor]", texts: Sequence[str]) -> list[str]:
        import torch

        states = torch.stack(list(read))  # (N, T, D)
        generated = model.text_decoder.generate(
            input_ids=torch.full((len(texts), 1), text.bos_token_id, device=states.device),
            encoder_hidden_states=states,
            generation_config=GenerationConfig(**decoding),
        )
        words: list[str] = tokenizer.batch_decode(generated, skip_special_tokens=True)
        return words

    return EncodeOnceJudge(
        about=describe(settings, type(model), image_processor, decoding),
        template=TEMPLATES[settings.template],
        questions_per_batch=settings.questions_per_batch,
        encode=encode,
        answer=answer,
        read=read,
        length=lambda text: len(tokenizer(text)["input_ids"]),
        pads=False,
    )
