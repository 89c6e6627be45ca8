"""Preference models with random weights, in the folders that the scorers read."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from selma.core.files import write_json
from selma.scorers import image_reward
from selma.scorers.pixels import ImageSettings, write_image_settings
from selma.scorers.preference import ORIGIN_FILE, Origin

SETTINGS = ImageSettings(32, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
MAX_TOKENS = 16
LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VISION = {**LAYERS, "image_size": 32, "patch_size": 8, "initializer_range": 0.02}


def letter_tokenizer() -> CLIPTokenizer:
    """Spell every word letter by letter."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)


def write_clip(directory: Path, seed: int = 0) -> Any:
    """Write a CLIP of 30 thousand parameters, as PickScore is one; returns it."""
    torch.manual_seed(seed)
    config = CLIPConfig(text_config=_text(), vision_config=VISION, projection_dim=24)
    model = CLIPModel(config).eval()
    model.save_pretrained(directory)
    _write_rest(directory)
    return model


def write_hps(directory: Path, version: str) -> None:
    """Write a folder as `selma convert hps` leaves it."""
    write_clip(directory, seed=1)
    _write_origin(directory, Origin("hps", version, "none", "", "tensor-bicubic"))


def reward_config() -> image_reward.RewardConfig:
    """Give the shape of a reward model of 50 thousand parameters."""
    text = {**_text(), "sep_token_id": letter_tokenizer().eos_token_id}
    return image_reward.RewardConfig(VISION, text, (32, 16), (0.2, 0.0), MAX_TOKENS, 0.5, 2.0)


def write_reward_model(directory: Path) -> image_reward.RewardModel:
    """Write a reward model; returns it."""
    torch.manual_seed(0)
    model = image_reward.build(reward_config())
    image_reward.save(model, directory)
    _write_rest(directory)
    model.network.eval()
    return model


def write_imagereward(directory: Path) -> None:
    """Write a folder as `selma convert imagereward` leaves it."""
    write_reward_model(directory)
    resize = "pillow-bicubic-torchvision"
    _write_origin(directory, Origin("imagereward", "v1.0", "none", "", resize))


def _text() -> dict[str, Any]:
    words = letter_tokenizer()
    return {
        **LAYERS,
        "vocab_size": len(words),
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }


def _write_rest(directory: Path) -> None:
    letter_tokenizer().save_pretrained(directory)
    write_image_settings(SETTINGS, directory)


def _write_origin(directory: Path, origin: Origin) -> None:
    write_json(directory / ORIGIN_FILE, asdict(origin))
