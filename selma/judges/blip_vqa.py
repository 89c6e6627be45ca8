"""BLIP's question answering model as a judge (arXiv 2201.12086), which writes with a text decoder.

As in transformers, and unlike the authors' code, the question begins with [CLS] and not with [ENC],
and is not cut at 35 tokens.
"""

from collections.abc import Sequence

import torch
from transformers import BlipForQuestionAnswering, GenerationConfig

from selma.judges.protocol import Judge, JudgeSettings
from selma.judges.weights import load_config, load_parts, plain_search, tokenize


def load_blip_vqa(settings: JudgeSettings) -> Judge:
    """Load a BLIP for visual question answering; raises as `load_judge`.

    The vision tower runs once for each picture. The text encoder runs on batches of one picture's
    questions, which share its keys and values; the decoder on batches of questions with equally
    many tokens. BLIP's cross-attention in transformers does not heed the mask that it is given, so
    that the decoder would read the padding of a shorter question too. A question with more tokens
    than the model reads (512 in the published one) is a RecordError.
    """
    config = load_config(settings, "blip")
    text = config.text_config
    parts = load_parts(settings, config, BlipForQuestionAnswering, padding_side="right")
    model, tokenizer = parts.model, parts.tokenizer
    decoding = plain_search(
        settings,
        eos_token_id=text.sep_token_id,
        no_repeat_ngram_size=0,
        pad_token_id=text.pad_token_id,
        repetition_penalty=1.0,
    )

    def read(patches: torch.Tensor, texts: Sequence[str]) -> list[torch.Tensor]:
        tokens = tokenize(tokenizer, texts, text.max_position_embeddings, settings.device)
        states = model.text_encoder(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            encoder_hidden_states=patches,  # (1, P, D), seen by all N texts
        ).last_hidden_state  # (N, T, D)
        lengths = tokens.attention_mask.sum(dim=1).tolist()
        return [one[:length] for one, length in zip(states, lengths, strict=True)]

    def answer(read: Sequence[torch.Tensor], texts: Sequence[str]) -> list[str]:
        states = torch.stack(list(read))  # (N, T, D)
        generated = model.text_decoder.generate(
            input_ids=torch.full((len(texts), 1), text.bos_token_id, device=states.device),
            encoder_hidden_states=states,
            generation_config=GenerationConfig(**decoding),
        )
        words: list[str] = tokenizer.batch_decode(generated, skip_special_tokens=True)
        return words

    return parts.judge(
        decoding,
        encode=parts.patches,
        answer=answer,
        read=read,
        length=lambda text: len(tokenizer(text)["input_ids"]),
        pads=False,
    )
