"""Turns the weights of an open_clip vision transformer into those of transformers' CLIPModel.

Nothing is guessed: every tensor must be there with its shape, none may be left over, and what
shapes do not tell (heads, activation) is looked up or given.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel

from selma.core.choices import choose_name
from selma.core.errors import RecordError
from selma.scorers.layouts.tensors import Shape, check_tensors, count_blocks, shape_of, square_of

ACTIVATIONS = ("gelu", "quick_gelu")  # OpenAI's own weights want the second
_PUBLISHED = (  # parts of names: transformers → open_clip
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("visual_projection.weight", "visual.proj"),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_projection.weight", "text_projection"),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".self_attn.out_proj.", ".attn.out_proj."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
_TRANSPOSED = ("visual_projection.weight", "text_projection.weight")
_FUSED = re.compile(r"\.self_attn\.([qkv])_proj\.(weight|bias)")


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


def to_clip(
    weights: Mapping[str, torch.Tensor], *, activation: str, heads: Heads | None, where: str
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Convert weights into settings of `CLIPConfig` and the state dict of its CLIPModel.

    `weights` are an open_clip model's state dict, whose dtype stays. `activation` is one of
    `ACTIVATIONS`, "gelu" for LAION's models and HPS; `heads` is for an architecture that `HEADS`
    does not know, None looks it up; `where` names the file. The text tower pools at the highest
    token id, which is its last: open_clip takes the arg-max.

    Raises RecordError if a tensor is missing, unexpected or of the wrong shape, or the architecture
    is unknown, and ConfigError for an unknown activation.
    """
    settings = _settings(weights, choose_name("activation", activation, ACTIVATIONS), heads, where)
    with torch.device("meta"):
        needed = CLIPModel(CLIPConfig(**settings)).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in needed.items()}
    check_tensors(weights, dict(_published(name, shape) for name, shape in shapes.items()), where)
    tensors = {}
    for name, shape in shapes.items():
        tensor, fused = weights[_published(name, shape)[0]], _FUSED.search(name)
        tensor = tensor.chunk(3)["qkv".index(fused[1])] if fused else tensor
        tensors[name] = (tensor.T if name in _TRANSPOSED else tensor).contiguous()
    return settings, tensors


def _published(name: str, shape: Shape) -> tuple[str, Shape]:
    """Translate name and shape of CLIPModel's tensor into those of the one that it is made from."""
    if name in _TRANSPOSED:
        shape = shape[::-1]
    if _FUSED.search(name):
        name, shape = _FUSED.sub(r".attn.in_proj_\2", name), (3 * shape[0], *shape[1:])
    for ours, theirs in _PUBLISHED:
        name = name.replace(ours, theirs)
    return name, shape


def _settings(
    weights: Mapping[str, torch.Tensor], activation: str, heads: Heads | None, where: str
) -> dict[str, Any]:
    vision_width, _, patch, _ = shape_of(weights, "visual.conv1.weight", 4, where)
    vision_positions, _ = shape_of(weights, "visual.positional_embedding", 2, where)
    vocabulary, text_width = shape_of(weights, "token_embedding.weight", 2, where)
    text_positions, _ = shape_of(weights, "positional_embedding", 2, where)
    _, projection = shape_of(weights, "text_projection", 2, where)
    towers = {"vision": ("visual.transformer", vision_width), "text": ("transformer", text_width)}
    layers = {name: count_blocks(weights, f"{at}.resblocks") for name, (at, _) in towers.items()}
    key = (vision_width, layers["vision"], patch, text_width, layers["text"])
    chosen = heads if heads is not None else HEADS.get(key)
    if chosen is None:
        raise RecordError(
            f"{where}: no known architecture has vision width {key[0]}, {key[1]} layers, patches "
            f"of {key[2]} px, text width {key[3]} and {key[4]} layers, so its heads are unknown"
        )
    common = {}
    for name, (at, width) in towers.items():
        number = getattr(chosen, name)
        if width % number:
            raise RecordError(f"{where}: {name} width {width} is no multiple of {number} heads")
        hidden, _ = shape_of(weights, f"{at}.resblocks.0.mlp.c_fc.weight", 2, where)
        common[name] = {
            "hidden_size": width,
            "intermediate_size": hidden,
            "num_hidden_layers": layers[name],
            "num_attention_heads": number,
            "hidden_act": activation,
            "layer_norm_eps": 1e-5,
            "projection_dim": projection,
        }
    size_px = square_of(vision_positions, where) * patch
    text = {
        **common["text"],
        "vocab_size": vocabulary,
        "max_position_embeddings": text_positions,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": 0,
    }
    vision = {**common["vision"], "image_size": size_px, "patch_size": patch}
    return {"vision_config": vision, "text_config": text, "projection_dim": projection}
