"""A sentence encoder with random weights, as the one that TIFA's mapping `sbert` loads."""

from pathlib import Path
from typing import Any

import torch
from transformers import MPNetConfig, MPNetModel, MPNetTokenizer

SPECIAL = ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
WORDS = ("red", "green", "one", "two", "the", "a", "dog", "cat", "beach", "sky", "0", "1", "2", "3")
MAX_TOKENS = 12


def word_tokenizer() -> MPNetTokenizer:
    """Know a few words; all others are the same unknown one."""
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *WORDS))}
    return MPNetTokenizer(vocab=vocabulary, model_max_length=MAX_TOKENS)


def write_sentence_encoder(directory: Path, **changes: Any) -> Any:
    """Write an MPNet of 10 thousand parameters with large random weights; returns it."""
    config = MPNetConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=MAX_TOKENS + 2,
        initializer_range=0.5,
        **changes,
    )
    torch.manual_seed(3)
    model = MPNetModel(config).eval()
    model.save_pretrained(directory)
    word_tokenizer().save_pretrained(directory)
    return model
