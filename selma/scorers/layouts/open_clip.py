"""Turns the weights of an open_clip vision transformer into those of transformers' CLIPModel.

Nothing is guessed: every tensor must be there with the shape that the others ask for, none may be
left over, and what shapes do not tell (heads, activation) is looked up or given.
Source: open_clip, ViT models without layer scale or attentional pooling; read, not copied.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose
from selma.core.errors import RecordError

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]
ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "quick_gelu"}  # OpenAI's own weights want the second
_LISTED = 5  # names in a message
_PARTS = {  # of a block: open_clip → transformers
    "ln_1": "layer_norm1",
    "attn.out_proj": "self_attn.out_proj",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


@dataclass(frozen=True)
class Heads:
    """How many attention heads each tower has; the weights do not tell."""

    vision: int
    text: int


# (vision width, vision layers, patch edge, text width, text layers) → heads, as in open_clip's
# model files. Head widths are 64 but for the vision towers of H (80), g (88) and bigG (104).
HEADS: dict[tuple[int, int, int, int, int], Heads] = {
    (768, 12, 32, 512, 12): Heads(12, 8),  # ViT-B-32
    (768, 12, 16, 512, 12): Heads(12, 8),  # ViT-B-16
    (1024, 24, 14, 768, 12): Heads(16, 12),  # ViT-L-14
    (1280, 32, 14, 1024, 24): Heads(16, 16),  # ViT-H-14: HPS v2
    (1408, 40, 14, 1024, 24): Heads(16, 16),  # ViT-g-14
    (1664, 48, 14, 1280, 32): Heads(16, 20),  # ViT-bigG-14
}


@dataclass(frozen=True)
class _Sizes:
    """What the shapes tell; widths and depths are of (vision, text)."""

    width: tuple[int, int]
    layers: tuple[int, int]
    hidden: tuple[int, int]
    patch: int
    positions: tuple[int, int]
    vocabulary: int
    projection: int


def to_clip(
    weights: "Mapping[str, torch.Tensor]", *, activation: str, heads: Heads | None, where: str
) -> "tuple[dict[str, Any], dict[str, torch.Tensor]]":
    """Convert weights.

    Args:
        weights: an open_clip model's state dict, of any dtype.
        activation: a key of `ACTIVATIONS`; "gelu" for LAION's models and HPS.
        heads: of an architecture that `HEADS` does not know; None looks it up.
        where: the file, for the message.

    Returns:
        Settings of `CLIPConfig`, and the state dict of its CLIPModel, in the given dtype. The text
        tower pools at the highest token id, which is its last: open_clip takes the arg-max.

    Raises:
        RecordError: a tensor is missing, unexpected or of the wrong shape, or the architecture is
            unknown.
        ConfigError: there is no such activation.
    """
    hidden_act = choose("activation", activation, ACTIVATIONS)
    sizes = _read_sizes(weights, where)
    check_tensors(weights, _expected(sizes), where)
    key = (sizes.width[0], sizes.layers[0], sizes.patch, sizes.width[1], sizes.layers[1])
    chosen = heads if heads is not None else HEADS.get(key)
    if chosen is None:
        raise RecordError(
            f"{where}: no known architecture has vision width {key[0]}, {key[1]} layers, patches "
            f"of {key[2]} px, text width {key[3]} and {key[4]} layers, so its heads are unknown"
        )
    for tower, width, number in zip(
        ("vision", "text"), sizes.width, (chosen.vision, chosen.text), strict=True
    ):
        if width % number:
            raise RecordError(f"{where}: {tower} width {width} is no multiple of {number} heads")
    return _config(sizes, chosen, hidden_act), _converted(weights, sizes)


def check_tensors(
    weights: "Mapping[str, torch.Tensor]", expected: Mapping[str, Shape], where: str
) -> None:
    """Check that weights are exactly those expected.

    Args:
        weights: by name.
        expected: shapes by name.
        where: the file, for the message.

    Raises:
        RecordError: a tensor is missing, unexpected or of another shape; the message names it.
    """
    shapes = {
        name: f"{name} {tuple(weights[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    }
    problems = {
        "missing": sorted(set(expected) - set(weights)),
        "unexpected": sorted(set(weights) - set(expected)),
        "of another shape": sorted(shapes.values()),
    }
    found = [
        f"{len(names)} {problem}: {', '.join(names[:_LISTED])}{', …' * (len(names) > _LISTED)}"
        for problem, names in problems.items()
        if names
    ]
    if found:
        raise RecordError(
            f"{where}: tensors {'; '.join(found)}; the file is damaged or of another model"
        )


def shape_of(weights: "Mapping[str, torch.Tensor]", name: str, rank: int, where: str) -> Shape:
    """Give the shape of a tensor that tells the model's sizes.

    Raises:
        RecordError: it is missing, or has another number of dimensions.
    """
    if name not in weights or weights[name].ndim != rank:
        seen = f"has shape {tuple(weights[name].shape)}" if name in weights else "is missing"
        raise RecordError(
            f"{where}: tensor {name} {seen}, expected one of {rank} dimensions; the file is "
            "damaged or of another model"
        )
    return tuple(weights[name].shape)


def count_blocks(weights: "Mapping[str, torch.Tensor]", prefix: str) -> int:
    """Count the numbered blocks below a prefix: one more than the highest number, 0 without any."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    matches = (pattern.match(name) for name in weights)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def _read_sizes(weights: "Mapping[str, torch.Tensor]", where: str) -> _Sizes:
    vision_width, _, patch, _ = shape_of(weights, "visual.conv1.weight", 4, where)
    vision_positions, _ = shape_of(weights, "visual.positional_embedding", 2, where)
    vocabulary, text_width = shape_of(weights, "token_embedding.weight", 2, where)
    text_positions, _ = shape_of(weights, "positional_embedding", 2, where)
    _, projection = shape_of(weights, "text_projection", 2, where)
    vision_hidden, text_hidden = (
        shape_of(weights, f"{tower}.resblocks.0.mlp.c_fc.weight", 2, where)[0]
        for tower in ("visual.transformer", "transformer")
    )
    grid = round((vision_positions - 1) ** 0.5)
    if grid * grid + 1 != vision_positions:
        raise RecordError(
            f"{where}: visual.positional_embedding has {vision_positions} positions, expected a "
            "square of patches and one more"
        )
    return _Sizes(
        width=(vision_width, text_width),
        layers=(
            count_blocks(weights, "visual.transformer.resblocks"),
            count_blocks(weights, "transformer.resblocks"),
        ),
        hidden=(vision_hidden, text_hidden),
        patch=patch,
        positions=(vision_positions, text_positions),
        vocabulary=vocabulary,
        projection=projection,
    )


def _expected(sizes: _Sizes) -> dict[str, Shape]:
    """Give the shape of every tensor of such an open_clip model."""
    vision_width, text_width = sizes.width
    shapes: dict[str, Shape] = {
        "logit_scale": (),
        "visual.class_embedding": (vision_width,),
        "visual.conv1.weight": (vision_width, 3, sizes.patch, sizes.patch),
        "visual.positional_embedding": (sizes.positions[0], vision_width),
        "visual.proj": (vision_width, sizes.projection),
        "token_embedding.weight": (sizes.vocabulary, text_width),
        "positional_embedding": (sizes.positions[1], text_width),
        "text_projection": (text_width, sizes.projection),
    }
    norms = {"visual.ln_pre": vision_width, "visual.ln_post": vision_width, "ln_final": text_width}
    for name, width in norms.items():
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for tower, width, layers, hidden in zip(
        ("visual.transformer", "transformer"), sizes.width, sizes.layers, sizes.hidden, strict=True
    ):
        for layer in range(layers):
            block = f"{tower}.resblocks.{layer}"
            shapes |= {
                f"{block}.attn.in_proj_weight": (3 * width, width),
                f"{block}.attn.in_proj_bias": (3 * width,),
                f"{block}.attn.out_proj.weight": (width, width),
                f"{block}.mlp.c_fc.weight": (hidden, width),
                f"{block}.mlp.c_fc.bias": (hidden,),
                f"{block}.mlp.c_proj.weight": (width, hidden),
            }
            for part in ("attn.out_proj.bias", "mlp.c_proj.bias"):
                shapes[f"{block}.{part}"] = (width,)
            for norm in ("ln_1", "ln_2"):
                shapes |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
    return shapes


def _config(sizes: _Sizes, heads: Heads, hidden_act: str) -> dict[str, Any]:
    towers = [
        {
            "hidden_size": sizes.width[tower],
            "intermediate_size": sizes.hidden[tower],
            "num_hidden_layers": sizes.layers[tower],
            "num_attention_heads": (heads.vision, heads.text)[tower],
            "hidden_act": hidden_act,
            "layer_norm_eps": 1e-5,
            "projection_dim": sizes.projection,
        }
        for tower in range(2)
    ]
    grid = round((sizes.positions[0] - 1) ** 0.5)
    vision = {**towers[0], "image_size": grid * sizes.patch, "patch_size": sizes.patch}
    text = {
        **towers[1],
        "vocab_size": sizes.vocabulary,
        "max_position_embeddings": sizes.positions[1],
        "bos_token_id": sizes.vocabulary - 2,
        "eos_token_id": sizes.vocabulary - 1,
        "pad_token_id": 0,
    }
    return {"vision_config": vision, "text_config": text, "projection_dim": sizes.projection}


def _converted(weights: "Mapping[str, torch.Tensor]", sizes: _Sizes) -> "dict[str, torch.Tensor]":
    """Rename, transpose the projections and split the fused queries, keys and values."""
    tensors = {
        "logit_scale": weights["logit_scale"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_projection.weight": weights["text_projection"].T,  # (D, text width)
        "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
        "visual_projection.weight": weights["visual.proj"].T,  # (D, vision width)
    }
    modules = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    towers = (("visual.transformer", "vision_model"), ("transformer", "text_model"))
    for (theirs, ours), layers in zip(towers, sizes.layers, strict=True):
        for layer in range(layers):
            source, target = f"{theirs}.resblocks.{layer}", f"{ours}.encoder.layers.{layer}"
            modules |= {f"{source}.{a}": f"{target}.{b}" for a, b in _PARTS.items()}
            for kind in ("weight", "bias"):
                fused = weights[f"{source}.attn.in_proj_{kind}"].chunk(3)
                for part, tensor in zip("qkv", fused, strict=True):
                    tensors[f"{target}.self_attn.{part}_proj.{kind}"] = tensor
    for source, target in modules.items():
        for kind in ("weight", "bias"):
            tensors[f"{target}.{kind}"] = weights[f"{source}.{kind}"]
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
