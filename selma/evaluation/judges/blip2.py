"""BLIP-2 and InstructBLIP as judges: a frozen vision tower, a Q-Former, a language model.

Sources: BLIP-2, arXiv 2301.12597; InstructBLIP, arXiv 2305.06500; their use as judges, TIFA (arXiv
2303.11897) and DSG (arXiv 2310.18235). The published settings are 5 beams with at most 30 new
tokens for BLIP-2 with Flan-T5-XL in bfloat16, and 5 beams with at most 256 tokens for InstructBLIP.

InstructBLIP's answers were published with a repetition penalty of 1.5. It acts on what the model
has generated, as it did then: the transformers of today would also punish an answer for words of
the question, so that with the choices in view the right one becomes less likely.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.choices import choose
from selma.errors import ConfigError
from selma.evaluation.judges.encode_once import EncodeOnceJudge
from selma.evaluation.judges.protocol import Judge, JudgeSettings
from selma.evaluation.judges.templates import TEMPLATES
from selma.evaluation.judges.weights import (
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

REPETITION_PENALTY = 1.5  # of InstructBLIP
# The padding goes between picture and question or behind both. A decoder takes positions from the
# mask and must end with the question; T5's encoder counts distances, which padding would stretch.
PADDING_SIDES = {"llama": "left", "opt": "left", "t5": "right"}


@dataclass(frozen=True)
class _Parts:
    """What the two kinds of model have in common.

    Attributes:
        model: a `…ForConditionalGeneration`.
        tokenizer: of its language model.
        image_processor: makes its pixels.
        max_tokens: as many as a question may have; None if the language model sets no limit.
        decoding: arguments of `generate`.
        repetition_penalty: 1.0 is none.
    """

    model: Any
    tokenizer: Any
    image_processor: Any
    max_tokens: int | None
    decoding: dict[str, Any]
    repetition_penalty: float


def load_blip2(settings: JudgeSettings) -> Judge:
    """Load a BLIP-2 with a T5 or an OPT language model.

    Vision tower, Q-Former and projection run once for each picture; the language model runs on
    batches of questions. Answers lose outer white space and nothing else.

    Raises:
        ConfigError: a setting is wrong, or T5 should run in float16, where it overflows.
        MissingDataError: there is no such folder.
        MissingDependencyError: a Hub model cannot be had.
        RecordError: a file is missing or damaged, or the files are not of one model; or a question
            has more tokens than the model reads.
    """
    from transformers import Blip2ForConditionalGeneration

    parts = _load(settings, "blip-2", Blip2ForConditionalGeneration, repetition_penalty=1.0)

    def encode(picture: NDArray[np.uint8]) -> "torch.Tensor":
        made = pixels(parts.image_processor, picture, settings.device)
        features: torch.Tensor = parts.model.get_image_features(**made).pooler_output
        return features  # (1, Q, D)

    def answer(features: "Sequence[torch.Tensor]", texts: Sequence[str]) -> list[str]:
        import torch

        return _generate(parts, torch.cat(list(features)), texts)

    return _judge(settings, parts, encode, answer)


def load_instructblip(settings: JudgeSettings) -> Judge:
    """Load an InstructBLIP with a Vicuna or a Flan-T5 language model.

    The vision tower runs once for each picture. The Q-Former reads the question, so that it and
    the language model run on batches of questions. Answers lose outer white space and nothing else.

    Raises:
        ConfigError: a setting is wrong, or T5 should run in float16, where it overflows.
        MissingDataError: there is no such folder.
        MissingDependencyError: a Hub model cannot be had.
        RecordError: a file is missing or damaged, or the files are not of one model; or a question
            has more tokens than the model reads.
    """
    from transformers import InstructBlipForConditionalGeneration

    parts = _load(
        settings,
        "instructblip",
        InstructBlipForConditionalGeneration,
        repetition_penalty=REPETITION_PENALTY,
    )
    question_tokenizer = load_tokenizer(
        settings,
        parts.model.config.qformer_config.vocab_size,
        padding_side="right",
        subfolder="qformer_tokenizer",
    )

    def encode(picture: NDArray[np.uint8]) -> "torch.Tensor":
        made = pixels(parts.image_processor, picture, settings.device)
        patches: torch.Tensor = parts.model.vision_model(**made).last_hidden_state
        return patches  # (1, P, V)

    def answer(patches: "Sequence[torch.Tensor]", texts: Sequence[str]) -> list[str]:
        import torch

        features = _query(parts.model, question_tokenizer, torch.cat(list(patches)), texts)
        return _generate(parts, features, texts)

    return _judge(settings, parts, encode, answer)


def _load(
    settings: JudgeSettings, model_type: str, model_class: Any, *, repetition_penalty: float
) -> _Parts:
    config = load_config(settings, model_type)
    language = config.text_config
    padding_side = choose("language model", language.model_type, PADDING_SIDES)
    if language.model_type == "t5" and settings.dtype == "float16":
        raise ConfigError(f"{settings.path}: T5 overflows in float16; use bfloat16 or float32")
    image_processor = load_image_processor(settings)
    check_square(settings, image_processor, config.vision_config.image_size)
    tokenizer = load_tokenizer(settings, language.vocab_size, padding_side=padding_side)
    decoding = {
        "do_sample": False,
        "early_stopping": False,
        "length_penalty": 1.0,
        "max_new_tokens": settings.max_new_tokens,
        "no_repeat_ngram_size": 0,
        "num_beams": settings.beams,
        "pad_token_id": tokenizer.pad_token_id,
        "repetition_penalty": 1.0,  # a processor of our own does it
    }
    if model_type == "instructblip" and language.model_type != "t5":
        decoding["min_new_tokens"] = 1  # published as min_length, which T5's start token fulfils
    positions = getattr(language, "max_position_embeddings", None)
    taken = config.num_query_tokens + settings.max_new_tokens
    max_tokens = None if positions is None else positions - taken
    model = load_model(model_class, settings)
    return _Parts(model, tokenizer, image_processor, max_tokens, decoding, repetition_penalty)


def _judge(
    settings: JudgeSettings,
    parts: _Parts,
    encode: "Callable[[NDArray[np.uint8]], torch.Tensor]",
    answer: "Callable[[Sequence[torch.Tensor], Sequence[str]], list[str]]",
) -> Judge:
    decoding = {
        **parts.decoding,
        "language_model": parts.model.config.text_config.model_type,
        "repetition_penalty": parts.repetition_penalty,
        "repetition_penalty_acts_on": "what is generated",
    }
    return EncodeOnceJudge(
        about=describe(settings, type(parts.model), parts.image_processor, decoding),
        template=TEMPLATES[settings.template],
        questions_per_batch=settings.questions_per_batch,
        encode=encode,
        answer=answer,
    )


def _query(
    model: Any, tokenizer: Any, patches: "torch.Tensor", texts: Sequence[str]
) -> "torch.Tensor":
    """Let InstructBLIP's Q-Former look at N pictures' patches (N, P, V) for N texts: (N, Q, D)."""
    import torch

    max_tokens = model.config.qformer_config.max_position_embeddings
    tokens = tokenize(tokenizer, texts, max_tokens, patches.device)
    queries = model.query_tokens.expand(len(texts), -1, -1)  # (N, Q, F)
    all_queries = tokens.attention_mask.new_ones(queries.shape[:2])
    states = model.qformer(
        input_ids=tokens.input_ids,
        attention_mask=torch.cat([all_queries, tokens.attention_mask], dim=1),
        query_embeds=queries,
        encoder_hidden_states=patches,
        encoder_attention_mask=all_queries.new_ones(patches.shape[:2]),
    ).last_hidden_state  # (N, Q + T, F)
    features: torch.Tensor = model.language_projection(states[:, : queries.shape[1]])
    return features


def _generate(parts: _Parts, features: "torch.Tensor", texts: Sequence[str]) -> list[str]:
    """Let the language model answer N texts behind what was seen in N pictures, (N, Q, D)."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

    tokens = tokenize(parts.tokenizer, texts, parts.max_tokens, features.device)
    words = parts.model.get_input_embeddings()(tokens.input_ids)  # (N, T, D)
    seen = tokens.attention_mask.new_ones(features.shape[:2])
    prompt: dict[str, Any] = {
        "inputs_embeds": torch.cat([features.to(words.dtype), words], dim=1),  # (N, Q + T, D)
        "attention_mask": torch.cat([seen, tokens.attention_mask], dim=1),
    }
    language_model = parts.model.language_model
    if not language_model.config.is_encoder_decoder:
        prompt["past_key_values"] = _read_prompt(language_model, **prompt)
        prompt["past_key_values"].batch_repeat_interleave(parts.decoding["num_beams"])
    processors = LogitsProcessorList()
    if parts.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(parts.repetition_penalty))
    generated = language_model.generate(
        **prompt,
        generation_config=GenerationConfig(**parts.decoding),
        logits_processor=processors,
    )
    answers = parts.tokenizer.batch_decode(generated, skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def _read_prompt(
    language_model: Any, inputs_embeds: "torch.Tensor", attention_mask: "torch.Tensor"
) -> Any:
    """Give a decoder's cache of all but the last token of N prompts.

    `generate` goes on from there; left to itself it would read each prompt once for each beam.
    """
    mask = attention_mask[:, :-1]
    return language_model(
        inputs_embeds=inputs_embeds[:, :-1],
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    ).past_key_values
