"""Tiny random preference models in the published forms, written to a folder as real ones are."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from selma.evaluation import image_reward
from selma.evaluation.pixels import ImageSettings, write_image_settings

SETTINGS = ImageSettings(32, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
MAX_TOKENS = 16
LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VISION = {**LAYERS, "image_size": 32, "patch_size": 8, "initializer_range": 0.02}


def _tokenizer() -> CLIPTokenizer:
    """Spell every word letter by letter."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)


def _write_clip(directory: Path) -> CLIPModel:
    """Write a CLIP of 30 thousand parameters."""
    words = _tokenizer()
    text = {
        **LAYERS,
        "vocab_size": len(words),
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)
    model = CLIPModel(config).eval()
    model.save_pretrained(directory)
    _write_rest(words, directory)
    return model


def _reward_config() -> image_reward.RewardConfig:
    """Give the shape of a reward model of 50 thousand parameters."""
    words = _tokenizer()
    text = {
        **LAYERS,
        "vocab_size": len(words),
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        "sep_token_id": words.eos_token_id,
    }
    return image_reward.RewardConfig(VISION, text, (32, 16), (0.2, 0.0), MAX_TOKENS, 0.5, 2.0)


def _write_reward_model(directory: Path) -> image_reward.RewardModel:
    """Write a reward model of 50 thousand parameters."""
    torch.manual_seed(0)
    model = image_reward.build(_reward_config())
    image_reward.save(model, directory)
    _write_rest(_tokenizer(), directory)
    model.network.eval()
    return model


def _write_rest(words: CLIPTokenizer, directory: Path) -> None:
    words.save_pretrained(directory)
    write_image_settings(SETTINGS, directory)


@pytest.fixture(scope="session")
def tokenizer():
    """The tokenizer of both scorers."""
    return _tokenizer()


@pytest.fixture(scope="session")
def reward_config():
    """The shape of the tiny reward model."""
    return _reward_config()


@pytest.fixture(scope="session")
def write_clip():
    """A function that writes a tiny CLIP to a folder and gives the model."""
    return _write_clip


@pytest.fixture(scope="session")
def write_reward_model():
    """A function that writes a tiny reward model to a folder and gives the model."""
    return _write_reward_model
