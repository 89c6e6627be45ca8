"""BLIP-2 (arXiv 2301.12597) and InstructBLIP (arXiv 2305.06500) as judges.

Published with 5 beams: BLIP-2 with Flan-T5-XL in bfloat16 and at most 30 new tokens (TIFA, arXiv
2303.11897), InstructBLIP with at most 256 (DSG, arXiv 2310.18235).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Blip2ForConditionalGeneration, GenerationConfig, LogitsProcessorList
from transformers import InstructBlipForConditionalGeneration as Model
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from selma.core.choices import choose
from selma.judges.protocol import Judge, JudgeSettings
from selma.judges.weights import (
    Parts,
    check_precision,
    load_config,
    load_parts,
    load_tokenizer,
    plain_search,
    tokenize,
)

# Of InstructBLIP. It acts on what the model has generated, as it did when the answers were
# published: today's transformers would also punish an answer for words of the question.
REPETITION_PENALTY = 1.5
# The padding goes between picture and question or behind both. A decoder takes positions from the
# mask and must end with the question; T5's encoder counts distances, which padding would stretch.
PADDING_SIDES = {"llama": "left", "opt": "left", "t5": "right"}
Keys = tuple[Any, Any]  # of one layer: keys and values, (1, heads, Q, D / heads)


@dataclass(frozen=True)
class _Seen:
    """What the language model gets of a picture."""

    features: torch.Tensor  # (1, Q, D), before the words
    keys: tuple[Keys, ...] = ()  # of each layer where a decoder has read the features already


@dataclass(frozen=True)
class _Writer:
    """How the language model of both kinds writes."""

    parts: Parts
    max_tokens: int | None  # of a question; None if the language model sets no limit
    decoding: dict[str, Any]  # arguments of `generate`
    repetition_penalty: float  # 1.0 is none

    def judge(self, **functions: Any) -> Judge:
        decoding = {
            **self.decoding,
            "language_model": self.parts.config.text_config.model_type,
            "repetition_penalty": self.repetition_penalty,
            "repetition_penalty_acts_on": "what is generated",
        }
        return self.parts.judge(decoding, answer=partial(_generate, self), **functions)


def load_blip2(settings: JudgeSettings) -> Judge:
    """Load a BLIP-2 with a T5 or an OPT language model; raises as `load_judge`.

    Vision tower, Q-Former and projection run once for each picture, and so does OPT on what they
    give; the language model reads questions in batches. Answers lose outer white space and nothing
    else. T5 in float16, where it overflows, is a ConfigError; a question with more tokens than the
    model reads a RecordError.
    """
    writer = _load(settings, "blip-2", Blip2ForConditionalGeneration, repetition_penalty=1.0)
    model = writer.parts.model

    def encode(picture: NDArray[np.uint8]) -> _Seen:
        features = model.get_image_features(**writer.parts.pixels(picture)).pooler_output
        if model.language_model.config.is_encoder_decoder:
            return _Seen(features)
        return _Seen(features, _read_features(model.language_model, features))

    return writer.judge(encode=encode)


def load_instructblip(settings: JudgeSettings) -> Judge:
    """Load an InstructBLIP with a Vicuna or a Flan-T5 language model; raises as `load_blip2`.

    The vision tower runs once for each picture. The Q-Former reads the question: it runs on batches
    of one picture's questions, which share the keys and values of its patches, and the language
    model on batches of any questions. Answers lose outer white space and nothing else.
    """
    writer = _load(settings, "instructblip", Model, repetition_penalty=REPETITION_PENALTY)
    model = writer.parts.model
    question_tokenizer = load_tokenizer(
        settings,
        model.config.qformer_config.vocab_size,
        padding_side="right",
        subfolder="qformer_tokenizer",
    )

    def read(patches: torch.Tensor, texts: Sequence[str]) -> list[_Seen]:
        features = _query(model, question_tokenizer, patches, texts)
        return [_Seen(one[None]) for one in features]

    return writer.judge(encode=writer.parts.patches, read=read)


def _load(
    settings: JudgeSettings, model_type: str, model_class: Any, *, repetition_penalty: float
) -> _Writer:
    config = load_config(settings, model_type)
    language = config.text_config
    padding_side = choose("language model", language.model_type, PADDING_SIDES)
    check_precision(settings.path, language.model_type, settings.dtype)
    parts = load_parts(settings, config, model_class, padding_side=padding_side)
    decoding = plain_search(
        settings,
        no_repeat_ngram_size=0,
        pad_token_id=parts.tokenizer.pad_token_id,
        repetition_penalty=1.0,  # a processor of our own does it
    )
    if model_type == "instructblip" and language.model_type != "t5":
        decoding["min_new_tokens"] = 1  # published as min_length, which T5's start token fulfils
    positions = getattr(language, "max_position_embeddings", None)
    taken = config.num_query_tokens + settings.max_new_tokens
    max_tokens = None if positions is None else positions - taken
    return _Writer(parts, max_tokens, decoding, repetition_penalty)


def _query(model: Any, tokenizer: Any, patches: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
    """Let InstructBLIP's Q-Former look at a picture's patches (1, P, V) for N texts: (N, Q, D)."""
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


def _generate(writer: _Writer, seen: Sequence[_Seen], texts: Sequence[str]) -> list[str]:
    model, tokenizer = writer.parts.model, writer.parts.tokenizer
    features = torch.cat([one.features for one in seen])  # (N, Q, D)
    tokens = tokenize(tokenizer, texts, writer.max_tokens, features.device)
    words = model.get_input_embeddings()(tokens.input_ids)  # (N, T, D)
    inputs_embeds = torch.cat([features.to(words.dtype), words], dim=1)  # (N, Q + T, D)
    all_features = tokens.attention_mask.new_ones(features.shape[:2])
    mask = torch.cat([all_features, tokens.attention_mask], dim=1)
    language_model, beams = model.language_model, writer.decoding["num_beams"]
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
    if writer.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(writer.repetition_penalty))
    generated = language_model.generate(
        **prompt, generation_config=GenerationConfig(**writer.decoding), logits_processor=processors
    )
    answers = tokenizer.batch_decode(generated, skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def _look_once(decoder: Any, states: torch.Tensor, beams: int) -> Any:
    """Cache the keys and values of what T5's encoder gave, (N, S, D), not once for each beam."""
    looked = DynamicCache(config=decoder.config)
    for index, block in enumerate(decoder.block):
        attention = block.layer[1].EncDecAttention
        shape = (*states.shape[:2], -1, attention.key_value_proj_dim)
        both = (attention.k, attention.v)
        keys, values = (part(states).view(shape).transpose(1, 2) for part in both)
        looked.update(keys, values, index)
    looked.batch_repeat_interleave(beams)
    return EncoderDecoderCache(DynamicCache(config=decoder.config), looked)


def _read_features(language_model: Any, features: torch.Tensor) -> tuple[Keys, ...]:
    """Let a decoder read what all prompts about a picture begin with, (1, Q, D)."""
    cache = language_model(
        inputs_embeds=features.to(language_model.dtype), use_cache=True, logits_to_keep=1
    ).past_key_values
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def _join(config: Any, seen: Sequence[tuple[Keys, ...]]) -> Any:
    """Make a cache of N prompts' beginnings; empty where nothing was read."""
    cache = DynamicCache(config=config)
    for index, layer in enumerate(zip(*seen, strict=True)):
        keys, values = (torch.cat(parts) for parts in zip(*layer, strict=True))
        cache.update(keys, values, index)
    return cache


def _read_prompt(
    language_model: Any, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, cache: Any
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
