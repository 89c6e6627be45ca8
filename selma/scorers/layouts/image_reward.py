"""Turns the published ImageReward.pt and its med_config.json into our reward model's form.

Nothing is guessed: every tensor must be there with the shape that the others ask for, and the only
ones left out are two projections that a score never uses.
Source: THUDM/ImageReward 1.5 (BLIP's vision tower and text encoder); read, not copied.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from selma.core.errors import RecordError
from selma.scorers.image_reward import RewardConfig
from selma.scorers.layouts.open_clip import Shape, check_tensors, count_blocks, shape_of

if TYPE_CHECKING:
    import torch

MEAN, STANDARD_DEVIATION = 0.16717362830052426, 1.0333394966054072
TEXT_MAX_TOKENS = 35
HEAD_DROPOUTS = (0.2, 0.2, 0.1, 0.0)  # after each hidden layer, in training
VISION_HEADS = {(768, 12): 12, (1024, 24): 16}  # (width, layers) → heads, BLIP's base and large
VISION_NORM_EPS = 1e-6
ADDED_TOKENS = ("[DEC]", "[ENC]")  # to bert-base-uncased; they fill the vocabulary's last rows
_HEAD = (0, 2, 4, 6, 7)  # places of the linear layers between dropouts; the last has none before it
_UNUSED = ("vision_proj", "text_proj")  # of BLIP's contrastive loss
_POSITION_IDS = "text_encoder.embeddings.position_ids"  # a buffer: 0, 1, 2, …
_TEXT_SETTINGS: dict[str, type | tuple[type, ...]] = {
    "attention_probs_dropout_prob": (int, float),
    "hidden_act": str,
    "hidden_dropout_prob": (int, float),
    "hidden_size": int,
    "intermediate_size": int,
    "layer_norm_eps": (int, float),
    "max_position_embeddings": int,
    "num_attention_heads": int,
    "num_hidden_layers": int,
    "pad_token_id": int,
    "vocab_size": int,
}


def to_reward_model(
    weights: "Mapping[str, torch.Tensor]",
    med_config: Mapping[str, Any],
    *,
    vision_heads: int | None,
    where: str,
) -> "tuple[RewardConfig, dict[str, torch.Tensor]]":
    """Convert weights.

    Args:
        weights: the checkpoint; BLIP's part with or without the prefix "blip.".
        med_config: what med_config.json holds, the shape of the text encoder.
        vision_heads: of a vision tower that is neither BLIP's base nor large; None looks it up.
        where: the file, for the message.

    Returns:
        The config, and the state dict of its network, in the given dtype.

    Raises:
        RecordError: a tensor is missing, unexpected or of the wrong shape, or med_config.json
            describes another model.
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
    expected = (
        _vision_shapes(width, patch, positions, hidden, layers)
        | _text_shapes(text, width)
        | _head_shapes((text["hidden_size"], *head_sizes, 1))
    )
    check_tensors(_without_unused(plain, text, where), expected, where)
    heads = vision_heads if vision_heads is not None else VISION_HEADS.get((width, layers))
    grid = round((positions - 1) ** 0.5)
    if heads is None or width % heads or grid * grid + 1 != positions:
        raise RecordError(
            f"{where}: no known vision tower has width {width}, {layers} layers and {positions} "
            "positions; expected BLIP's base or large"
        )
    vision = {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": grid * patch,
        "patch_size": patch,
        "hidden_act": "gelu",
        "layer_norm_eps": VISION_NORM_EPS,
        "initializer_range": 0.02,
    }
    config = RewardConfig(
        vision, text, head_sizes, HEAD_DROPOUTS, TEXT_MAX_TOKENS, MEAN, STANDARD_DEVIATION
    )
    return config, {_renamed(name): plain[name].contiguous() for name in expected}


def _without_prefix(weights: "Mapping[str, torch.Tensor]", where: str) -> "dict[str, torch.Tensor]":
    """Take the prefix of BLIP's part away."""
    plain = {name.removeprefix("blip."): tensor for name, tensor in weights.items()}
    if len(plain) < len(weights):
        twice = sorted(name for name in weights if f"blip.{name}" in weights)
        raise RecordError(f"{where}: tensor {twice[0]} is there with and without 'blip.'")
    return plain


def _text_settings(med_config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Take from med_config.json what decides the text encoder."""
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
    plain: "Mapping[str, torch.Tensor]", text: Mapping[str, Any], where: str
) -> "dict[str, torch.Tensor]":
    """Leave out what a score does not use, and the buffer that we compute."""
    import torch

    positions = plain.get(_POSITION_IDS)
    counted = torch.arange(text["max_position_embeddings"])[None]  # (1, T)
    if positions is not None and not torch.equal(positions.cpu(), counted):
        raise RecordError(f"{where}: {_POSITION_IDS} does not count from 0; expected {counted}")
    unused = {f"{name}.{kind}" for name in _UNUSED for kind in ("weight", "bias")}
    return {
        name: tensor
        for name, tensor in plain.items()
        if name not in unused and name != _POSITION_IDS
    }


def _linear(name: str, outputs: int, inputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _vision_shapes(
    width: int, patch: int, positions: int, hidden: int, layers: int
) -> dict[str, Shape]:
    tower = "visual_encoder"
    shapes: dict[str, Shape] = {
        f"{tower}.cls_token": (1, 1, width),
        f"{tower}.pos_embed": (1, positions, width),
        f"{tower}.patch_embed.proj.weight": (width, 3, patch, patch),
        f"{tower}.patch_embed.proj.bias": (width,),
        **_norm(f"{tower}.norm", width),
    }
    for layer in range(layers):
        block = f"{tower}.blocks.{layer}"
        shapes |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        shapes |= _linear(f"{block}.attn.qkv", 3 * width, width)
        shapes |= _linear(f"{block}.attn.proj", width, width)
        shapes |= _linear(f"{block}.mlp.fc1", hidden, width)
        shapes |= _linear(f"{block}.mlp.fc2", width, hidden)
    return shapes


def _text_shapes(text: Mapping[str, Any], vision_width: int) -> dict[str, Shape]:
    width, hidden = text["hidden_size"], text["intermediate_size"]
    tower = "text_encoder"
    shapes: dict[str, Shape] = {
        f"{tower}.embeddings.word_embeddings.weight": (text["vocab_size"], width),
        f"{tower}.embeddings.position_embeddings.weight": (text["max_position_embeddings"], width),
        **_norm(f"{tower}.embeddings.LayerNorm", width),
    }
    for layer in range(text["num_hidden_layers"]):
        block = f"{tower}.encoder.layer.{layer}"
        for kind, seen in (("attention", width), ("crossattention", vision_width)):
            attention = f"{block}.{kind}"
            shapes |= _linear(f"{attention}.self.query", width, width)
            shapes |= _linear(f"{attention}.self.key", width, seen)
            shapes |= _linear(f"{attention}.self.value", width, seen)
            shapes |= _linear(f"{attention}.output.dense", width, width)
            shapes |= _norm(f"{attention}.output.LayerNorm", width)
        shapes |= _linear(f"{block}.intermediate.dense", hidden, width)
        shapes |= _linear(f"{block}.output.dense", width, hidden)
        shapes |= _norm(f"{block}.output.LayerNorm", width)
    return shapes


def _head_shapes(widths: tuple[int, ...]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for place, inputs, outputs in zip(_HEAD, widths[:-1], widths[1:], strict=True):
        shapes |= _linear(f"mlp.layers.{place}", outputs, inputs)
    return shapes


def _renamed(name: str) -> str:
    """Give our name of a tensor; the text encoder's names are the same below the tower."""
    part, rest = name.split(".", 1)
    if part == "text_encoder":
        return f"text.{rest}"
    if part == "mlp":
        _, place, kind = rest.split(".")
        return f"head.{2 * _HEAD.index(int(place))}.{kind}"  # a dropout after each hidden layer
    for theirs, ours in (
        ("cls_token", "embeddings.class_embedding"),
        ("pos_embed", "embeddings.position_embedding"),
        ("patch_embed.proj.", "embeddings.patch_embedding."),
        ("blocks.", "encoder.layers."),
        (".norm1.", ".layer_norm1."),
        (".norm2.", ".layer_norm2."),
        (".attn.proj.", ".self_attn.projection."),
        (".attn.qkv.", ".self_attn.qkv."),
    ):
        rest = rest.replace(theirs, ours)
    if rest.startswith("norm."):
        rest = f"post_layernorm.{rest.removeprefix('norm.')}"
    return f"vision.{rest}"
