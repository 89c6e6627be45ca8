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

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.judges.encode_once import EncodeOnceJudge, see_the_same
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

REPETITION_PENALTY = 1.5  # of InstructBLIP
# The padding goes between picture and question or behind both. A decoder takes positions from the
# mask and must end with the question; T5's encoder counts distances, which padding would stretch.
PADDING_SIDES = {"llama": "left", "opt": "left", "t5": "right"}
Keys = tuple[Any, Any]  # of one layer: keys and values, (1, heads, Q, D / heads)


@dataclass(frozen=True)
class _Seen:
    """What the language model gets of a picture.

    Attributes:
        features: (1, Q, D), before the words.
        keys: of each layer where a decoder has read the features already; else empty.
    """

    features: "torch.Tensor"
    keys: tuple[Keys, ...] = ()


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

    Vision tower, Q-Former and projection run once for each picture, and so does OPT on what they
    give; the language model reads questions in batches. Answers lose outer white space and nothing
    else.

    Raises:
        ConfigError: a setting is wrong, or T5 should run in float16, where it overflows.
        MissingDataError: there is no such folder.
        MissingDependencyError: a Hub model cannot be had.
        RecordError: a file is missing or damaged, or the files are not of one model; or a question
            has more tokens than the model reads.
    """
    from transformers import Blip2ForConditionalGeneration

    parts = _load(settings, "blip-2", Blip2ForConditionalGeneration, repetition_penalty=1.0)

    def encode(picture: NDArray[np.uint8]) -> _Seen:
        made = pixels(parts.image_processor, picture, settings.device)
        features = parts.model.get_image_features(**made).pooler_output
        language_model = parts.model.language_model
        if language_model.config.is_encoder_decoder:
            return _Seen(features)
        return _Seen(features, _read_features(language_model, features))

    return _judge(settings, parts, encode, see_the_same)


def load_instructblip(settings: JudgeSettings) -> Judge:
    """Load an InstructBLIP with a Vicuna or a Flan-T5 language model.

    The vision tower runs once for each picture. The Q-Former reads the question: it runs on
    batches of one picture's questions, which share the keys and values of its patches, and the
    language model on batches of any questions. Answers lose outer white space and nothing else.

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

    def read(patches: "torch.Tensor", texts: Sequence[str]) -> list[_Seen]:
        features = _query(parts.model, question_tokenizer, patches, texts)
        return [_Seen(one[None]) for one in features]

    return _judge(settings, parts, encode, read)


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
    encode: Callable[[NDArray[np.uint8]], Any],
    read: Callable[[Any, Sequence[str]], Sequence[_Seen]],
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
        answer=lambda seen, texts: _generate(parts, seen, texts),
        read=read,
    )


def _query(
    model: Any, tokenizer: Any, patches: "torch.Tensor", texts: Sequence[str]
) -> "torch.Tensor":
    """Let InstructBLIP's Q-Former look at a picture's patches (1, P, V) for N texts: (N, Q, D)."""
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
    ).last_hidden_state  # (N, Q + T, F)
    features: torch.Tensor = model.language_projection(states[:, : queries.shape[1]])
    return features


def _generate(parts: _Parts, seen: Sequence[_Seen], texts: Sequence[str]) -> list[str]:
    """Let the language model answer N texts behind what was seen for each of them."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

    features = torch.cat([one.features for one in seen])  # (N, Q, D)
    tokens = tokenize(parts.tokenizer, texts, parts.max_tokens, features.device)
    words = parts.model.get_input_embeddings()(tokens.input_ids)  # (N, T, D)
    inputs_embeds = torch.cat([features.to(words.dtype), words], dim=1)  # (N, Q + T, D)
    all_features = tokens.attention_mask.new_ones(features.shape[:2])
    mask = torch.cat([all_features, tokens.attention_mask], dim=1)
    language_model, beams = parts.model.language_model, parts.decoding["num_beams"]
    prompt: dict[str, Any] = {"attention_mask": mask}
    if language_model.config.is_encoder_decoder:
        prompt["encoder_outputs"] = language_model.encoder(
            inputs_embeds=inputs_embeds, attention_mask=mask
        )
        states = prompt["encoder_outputs"].last_hidden_state
        prompt["past_key_values"] = _look_once(language_model.decoder, states, beams)
    else:
        prompt["inputs_embeds"] = inputs_embeds
        cache = _join(language_model.config, [one.keys for one in seen])
        prompt["past_key_values"] = _read_prompt(language_model, inputs_embeds, mask, cache)
        prompt["past_key_values"].batch_repeat_interleave(beams)
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


def _look_once(decoder: Any, states: "torch.Tensor", beams: int) -> Any:
    """Give T5's decoder the keys and values of what its encoder gave, (N, S, D).

    `generate` would compute them once for each beam.
    """
    from transformers.cache_utils import DynamicCache, EncoderDecoderCache

    looked = DynamicCache(config=decoder.config)
    for index, block in enumerate(decoder.block):
        attention = block.layer[1].EncDecAttention
        shape = (*states.shape[:2], -1, attention.key_value_proj_dim)
        keys, values = (
            part(states).view(shape).transpose(1, 2) for part in (attention.k, attention.v)
        )
        looked.update(keys, values, index)
    looked.batch_repeat_interleave(beams)
    return EncoderDecoderCache(DynamicCache(config=decoder.config), looked)


def _read_features(language_model: Any, features: "torch.Tensor") -> tuple[Keys, ...]:
    """Let a decoder read what all prompts about a picture begin with, (1, Q, D)."""
    cache = language_model(
        inputs_embeds=features.to(language_model.dtype), use_cache=True, logits_to_keep=1
    ).past_key_values
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def _join(config: Any, seen: Sequence[tuple[Keys, ...]]) -> Any:
    """Make a cache of N prompts' beginnings; empty where nothing was read."""
    import torch
    from transformers.cache_utils import DynamicCache

    cache = DynamicCache(config=config)
    for index, layer in enumerate(zip(*seen, strict=True)):
        keys, values = (torch.cat(parts) for parts in zip(*layer, strict=True))
        cache.update(keys, values, index)
    return cache


def _read_prompt(
    language_model: Any, inputs_embeds: "torch.Tensor", attention_mask: "torch.Tensor", cache: Any
) -> Any:
    """Let a decoder read all but the last token of N prompts; what is in the cache it has read.

    `generate` goes on from there; left to itself it would read each prompt once for each beam.
    """
    known, mask = cache.get_seq_length(), attention_mask[:, :-1]
    if mask.shape[1] == known:
        return cache
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    return language_model(
        inputs_embeds=inputs_embeds[:, known:-1],
        attention_mask=mask,
        position_ids=positions[:, known:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).past_key_values
