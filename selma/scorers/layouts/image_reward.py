"""Turns ImageReward.pt and med_config.json (THUDM/ImageReward 1.5) into our reward model's form.

Nothing is guessed: every tensor must be there with the shape that the others ask for, and the only
ones left out are two projections that a score never uses.
"""

from collections.abc import Mapping
from typing import Any

import torch

from selma.core.errors import RecordError, one_line
from selma.scorers.image_reward import RewardConfig, build
from selma.scorers.layouts.tensors import check_tensors, count_blocks, shape_of, square_of

MEAN, STANDARD_DEVIATION = 0.16717362830052426, 1.0333394966054072
TEXT_MAX_TOKENS = 35
HEAD_DROPOUTS = (0.2, 0.2, 0.1, 0.0)  # after each hidden layer, in training
VISION_HEADS = {(768, 12): 12, (1024, 24): 16}  # (width, layers) → heads, BLIP's base and large
VISION_NORM_EPS = 1e-6
ADDED_TOKENS = ("[DEC]", "[ENC]")  # to bert-base-uncased; they fill the vocabulary's last rows
_HEAD = (0, 2, 4, 6, 7)  # places of the linear layers between dropouts; the last has none before it
_UNUSED = ("vision_proj", "text_proj")  # of BLIP's contrastive loss
_POSITION_IDS = "text_encoder.embeddings.position_ids"  # a buffer: 0, 1, 2, …
_NUMBER = (int, float)
_TEXT_SETTINGS: dict[str, type | tuple[type, ...]] = {
    "attention_probs_dropout_prob": _NUMBER, "hidden_act": str, "hidden_dropout_prob": _NUMBER,
    "hidden_size": int, "intermediate_size": int, "layer_norm_eps": _NUMBER,
    "max_position_embeddings": int, "num_attention_heads": int, "num_hidden_layers": int,
    "pad_token_id": int, "vocab_size": int,
}  # fmt: skip


def to_reward_model(
    weights: Mapping[str, torch.Tensor],
    med_config: Mapping[str, Any],
    *,
    vision_heads: int | None,
    where: str,
) -> tuple[RewardConfig, dict[str, torch.Tensor]]:
    """Convert weights into a config and the state dict of its network, in the given dtype.

    BLIP's part may have the prefix "blip."; `med_config` is what med_config.json holds, the shape
    of the text encoder; `vision_heads` is for a tower that is neither BLIP's base nor large, None
    looks it up; `where` names the file. RecordError: a tensor is missing, unexpected or of the
    wrong shape, or med_config.json describes another model.
    """
    plain = _without_prefix(weights, where)
    text = _text_settings(med_config, where)
    width, _, patch, _ = shape_of(plain, "visual_encoder.patch_embed.proj.weight", 4, where)
    _, positions, _ = shape_of(plain, "visual_encoder.pos_embed", 3, where)
    hidden, _ = shape_of(plain, "visual_encoder.blocks.0.mlp.fc1.weight", 2, where)
    layers = count_blocks(plain, "visual_encoder.blocks")
    head_sizes = tuple(
        shape_of(plain, f"mlp.layers.{place}.weight", 2, where)[0] for place in _HEAD[:-1]
    )
    heads = vision_heads if vision_heads is not None else VISION_HEADS.get((width, layers))
    if heads is None or width % heads:
        raise RecordError(
            f"{where}: no known vision tower has width {width}, {layers} layers and {positions} "
            "positions; expected BLIP's base or large"
        )
    vision = {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": square_of(positions, where) * patch,
        "patch_size": patch,
        "hidden_act": "gelu",
        "layer_norm_eps": VISION_NORM_EPS,
        "initializer_range": 0.02,
    }
    config = RewardConfig(
        vision, text, head_sizes, HEAD_DROPOUTS, TEXT_MAX_TOKENS, MEAN, STANDARD_DEVIATION
    )
    try:
        with torch.device("meta"):
            needed = build(config).network.state_dict()
    except ValueError as error:
        raise RecordError(f"{where}: med_config.json: {one_line(error)}") from error
    published = {_published(name): name for name in needed}
    shapes = {theirs: tuple(needed[ours].shape) for theirs, ours in published.items()}
    check_tensors(_without_unused(plain, text, where), shapes, where)
    return config, {ours: plain[theirs].contiguous() for theirs, ours in published.items()}


def _without_prefix(weights: Mapping[str, torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    plain = {name.removeprefix("blip."): tensor for name, tensor in weights.items()}
    if len(plain) < len(weights):
        twice = sorted(name for name in weights if f"blip.{name}" in weights)
        raise RecordError(f"{where}: tensor {twice[0]} is there with and without 'blip.'")
    return plain


def _text_settings(med_config: Mapping[str, Any], where: str) -> dict[str, Any]:
    wrong = [
        f"{name} {med_config.get(name)!r}"
        for name, kind in _TEXT_SETTINGS.items()
        if not isinstance(med_config.get(name), kind)
    ]
    for name, value in (("add_cross_attention", True), ("position_embedding_type", "absolute")):
        if med_config.get(name, value) != value:
            wrong.append(f"{name} {med_config[name]!r}")
    if wrong:
        raise RecordError(
            f"{where}: med_config.json has {', '.join(wrong)}; expected the one that is published "
            "with ImageReward.pt"
        )
    return {name: med_config[name] for name in _TEXT_SETTINGS}


def _without_unused(
    plain: Mapping[str, torch.Tensor], text: Mapping[str, Any], where: str
) -> dict[str, torch.Tensor]:
    """Leave out what a score does not use, and the buffer that the network computes."""
    positions = plain.get(_POSITION_IDS)
    counted = torch.arange(text["max_position_embeddings"])[None]  # (1, T)
    if positions is not None and not torch.equal(positions.cpu(), counted):
        raise RecordError(f"{where}: {_POSITION_IDS} does not count from 0; expected {counted}")
    unused = {f"{name}.{kind}" for name in _UNUSED for kind in ("weight", "bias")}
    unused.add(_POSITION_IDS)
    return {name: tensor for name, tensor in plain.items() if name not in unused}


def _published(name: str) -> str:
    """Translate our name of a tensor; the text encoder's names are the same below the tower."""
    part, rest = name.split(".", 1)
    if part == "text":
        return f"text_encoder.{rest}"
    if part == "head":
        place, kind = rest.split(".")
        return f"mlp.layers.{_HEAD[int(place) // 2]}.{kind}"  # a dropout after each hidden layer
    for ours, theirs in (
        ("embeddings.class_embedding", "cls_token"),
        ("embeddings.position_embedding", "pos_embed"),
        ("embeddings.patch_embedding.", "patch_embed.proj."),
        ("post_layernorm.", "norm."),
        ("encoder.layers.", "blocks."),
        (".layer_norm1.", ".norm1."),
        (".layer_norm2.", ".norm2."),
        (".self_attn.projection.", ".attn.proj."),
        (".self_attn.qkv.", ".attn.qkv."),
    ):
        rest = rest.replace(ours, theirs)
    return f"visual_encoder.{rest}"
