"""The reward model in ImageReward's form (arXiv 2304.05977): BLIP's two towers and a head.

A directory holds config.json (`RewardConfig`), model.safetensors, the tokenizer's files and
preprocessor_config.json (see `pixels`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from selma.core.errors import MissingDataError, RecordError, one_line
from selma.core.files import write_json

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


@dataclass(frozen=True)
class RewardConfig:
    """The shape of a reward model and the constants that put its output on a scale."""

    # Of `BlipVisionConfig` (set `initializer_range`, its default is 1e-10) and `BlipTextConfig`
    # (`is_decoder` and `encoder_hidden_size` are ours to set).
    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    head_sizes: tuple[int, ...]  # of the head's hidden layers; ImageReward's: 1024, 128, 64, 16
    head_dropouts: tuple[float, ...]  # the dropout after each hidden layer, in training only
    text_max_tokens: int  # prompts are cut and padded to this; ImageReward's is 35
    reward_mean: float  # mean of the raw rewards over the data that fixes the scale
    reward_standard_deviation: float


class RewardModel:
    """How much people would like a picture for a prompt; higher is better.

    `network` has the trained parts vision, text and head: call `.train()` and `.to()` on it.
    """

    def __init__(self, config: RewardConfig, network: torch.nn.ModuleDict) -> None:
        self.config = config
        self.network = network

    def forward(
        self, pixel_values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        """Compute the raw reward of each pair, (N,), before it is put on a scale.

        `pixel_values`, (N, 3, H, W), are normalised as by `pixels.preprocess`, `input_ids` (N, T)
        of at most text_max_tokens; `attention_mask`, (N, T), is 0 for padding.
        """
        patches = self.network["vision"](pixel_values=pixel_values).last_hidden_state  # (N, P, D)
        text = self.network["text"](
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=patches,
            is_decoder=False,
        ).last_hidden_state  # (N, T, D)
        raw: torch.Tensor = self.network["head"](text[:, 0])[:, 0]  # (N,)
        return raw

    def reward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Compute the reward on its scale, (raw − mean) / standard deviation; as `forward`."""
        return (self.forward(*inputs) - self.config.reward_mean) / (
            self.config.reward_standard_deviation
        )

    def set_scale(self, mean: float, standard_deviation: float) -> None:
        self.config = replace(
            self.config, reward_mean=mean, reward_standard_deviation=standard_deviation
        )

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        return self.network.named_parameters()


def build(config: RewardConfig) -> RewardModel:
    """Make a reward model with fresh weights, drawn from torch's global generator; seed that first.

    RecordError: the config's parts do not fit each other.
    """
    if len(config.head_sizes) != len(config.head_dropouts):
        raise RecordError(
            f"reward model config: head_sizes has {len(config.head_sizes)} entries and "
            f"head_dropouts {len(config.head_dropouts)}; give one dropout for each hidden layer"
        )
    vision = BlipVisionModel(BlipVisionConfig(**config.vision))
    # is_decoder gives the text tower its cross-attention; `forward` still reads both directions.
    text_config = BlipTextConfig(
        **config.text, is_decoder=True, encoder_hidden_size=vision.config.hidden_size
    )
    text = BlipTextModel(text_config, add_pooling_layer=False)
    layers: list[nn.Module] = []
    width = text_config.hidden_size
    for size, dropout in zip(config.head_sizes, config.head_dropouts, strict=True):
        layers += [nn.Linear(width, size), nn.Dropout(dropout)]
        width = size
    head = nn.Sequential(*layers, nn.Linear(width, 1))
    return RewardModel(config, nn.ModuleDict({"vision": vision, "text": text, "head": head}))


def save(model: RewardModel, directory: Path) -> None:
    """Write config.json and model.safetensors; the caller saves tokenizer and image settings."""
    write(model.config, model.network.state_dict(), directory)


def write(config: RewardConfig, weights: Mapping[str, torch.Tensor], directory: Path) -> None:
    """Write what `load` reads, from the state dict of a network; as `save`."""
    write_json(directory / CONFIG_FILE, asdict(config))
    tensors = {name: t.detach().contiguous() for name, t in weights.items()}
    save_file(tensors, directory / WEIGHTS_FILE, metadata={"format": "pt"})


def load(directory: Path) -> RewardModel:
    """Read a reward model that `save` or `write` wrote as float32, ready to score (no dropout).

    Raises MissingDataError without a file, RecordError if config or weights are damaged or do not
    fit each other; a key that is missing or too many is an error, because a reward computed without
    it looks plausible.
    """
    path = directory / WEIGHTS_FILE
    for needed in (directory / CONFIG_FILE, path):
        if not needed.exists():
            raise MissingDataError(f"{needed}: not found; run `dvc pull`")
    model = build(_read_config(directory / CONFIG_FILE))
    try:
        model.network.load_state_dict(load_file(path), strict=True)
    except (SafetensorError, RuntimeError) as error:
        where = f"{path}: not the weights of {directory / CONFIG_FILE}"
        raise RecordError(f"{where}: {one_line(error)}") from error
    model.network.eval()
    return model


def _read_config(path: Path) -> RewardConfig:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values |= {name: tuple(values[name]) for name in ("head_sizes", "head_dropouts")}
        return RewardConfig(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path}: not a reward model's config: {error!r}") from error
