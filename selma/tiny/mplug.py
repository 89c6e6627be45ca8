"""A tiny random mPLUG on disk: the files, key names and shapes of the released checkpoint."""

import json
import math
from pathlib import Path
from typing import Any

import torch

Shapes = dict[str, tuple[int, ...]]
BERT = {
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "hidden_size": 32,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 40,
    "model_type": "bert",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "encoder_width": 32,
    "add_cross_attention": False,
    "use_cache": False,
    "gradient_checkpointing": True,
    "text_encoder_layers": 2,
    "fusion_layers": 3,
    "text_decode_layers": 2,
    "stride_layer": 2,
}
CONFIG = {
    "task": "visual-question-answering",
    "bert_config": "config_bert.json",
    "image_res": 42,
    "vision_width": 128,
    "clip_name": "ViT-L-14",
    "distill": True,
    "clip_embed_dim": 24,
    "clip_image_resolution": 28,
    "clip_vision_layers": 2,
    "clip_vision_width": 128,
    "clip_vision_patch_size": 14,
    "clip_context_length": 8,
    "clip_vocab_size": 20,
    "clip_transformer_width": 16,
    "clip_transformer_heads": 2,
    "clip_transformer_layers": 1,
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# BERT's own vocabulary has its special tokens at these places too.
VOCABULARY = [
    "[PAD]",
    *(f"[unused{i}]" for i in range(99)),
    *("[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", ".", "'"),
    *("yes", "no", "is", "there", "the", "red", "blue", "dog", "cat", "two", "left"),
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
]
COPIES = ("", "_m")  # training leaves a momentum copy of every part
SEP = VOCABULARY.index("[SEP]")


def write_mplug(
    directory: Path, seed: int = 0, leaning: float = 0.0, **changed: Any
) -> dict[str, torch.Tensor]:
    """Write a checkpoint folder and give its weights; `changed` goes into either config file.

    `leaning`, in logits, is for an answer that is "yes" or "no" and ends there.
    """
    bert = {**BERT, "vocab_size": len(VOCABULARY)}
    bert |= {name: value for name, value in changed.items() if name in bert}
    config = {**CONFIG, **{name: value for name, value in changed.items() if name in CONFIG}}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config_bert.json").write_text(json.dumps(bert))
    (directory / "config.yaml").write_text(
        "".join(f"{name}: {json.dumps(value)}\n" for name, value in config.items())
    )
    (directory / "configuration.json").write_text(
        json.dumps({"framework": "pytorch", "task": config["task"], "model": {"type": "mplug"}})
    )
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    weights = draw(layout(bert, config), seed)
    for copy in COPIES:
        bias = weights.get(f"text_decoder{copy}.cls.predictions.bias")
        if bias is not None:
            bias[[VOCABULARY.index("yes"), VOCABULARY.index("no"), SEP]] += leaning
    save(weights, directory)
    return weights


def save(weights: dict[str, torch.Tensor], directory: Path) -> None:
    """Write the weights as the released file nests them."""
    torch.save({"model": weights}, directory / "pytorch_model.bin")


def draw(shapes: Shapes, seed: int) -> dict[str, torch.Tensor]:
    """Draw weights that are large enough for answers to depend on picture and question."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 1
        if name.endswith("position_ids"):
            weights[name] = torch.arange(shape[1])[None]
        elif name.endswith("embeddings.weight"):
            weights[name] = noise
        elif len(shape) > 1:
            weights[name] = 2.0 * noise / math.sqrt(fan_in)
        elif is_norm(name) and name.endswith("weight"):
            weights[name] = 1 + 0.2 * noise
        else:
            weights[name] = 0.2 * noise
    bert = "text_decoder{}.bert.embeddings.word_embeddings.weight"
    head = "text_decoder{}.cls.predictions."
    for copy in COPIES:
        if bert.format(copy) in weights:
            weights[head.format(copy) + "decoder.weight"] = weights[bert.format(copy)]
            weights[head.format(copy) + "bias"][: SEP + 2] -= 20  # not words
            weights[head.format(copy) + "bias"][SEP] = 10
            weights[head.format(copy) + "decoder.bias"] = weights[head.format(copy) + "bias"]
    return weights


def is_norm(name: str) -> bool:
    """Say whether a vector belongs to a layer norm."""
    return any(part in name for part in ("LayerNorm", "layer_norm", "ln_"))


def layout(bert: dict[str, Any], config: dict[str, Any]) -> Shapes:
    """List every tensor of a checkpoint, with the momentum copies that training leaves in it."""
    parts = {
        "visual_encoder": _clip(config),
        "text_encoder": _bert(bert, bert["text_encoder_layers"], cross=False),
        "fusion_encoder": _layers("encoder", bert, bert["num_hidden_layers"], cross=True),
        "text_decoder": _below("bert", _bert(bert, bert["text_decode_layers"], cross=True))
        | _below("cls.predictions", _head(bert)),
    }
    if config["vision_width"] != bert["hidden_size"]:
        width = bert["hidden_size"]
        parts["visn_fc"] = _linear(width, config["vision_width"])
        parts["visn_layer_norm"] = _norm(width)
    if config["distill"]:
        parts |= {f"{name}_m": shapes for name, shapes in parts.items()}
    shapes: Shapes = {}
    for name, part in parts.items():
        shapes |= _below(name, part)
    return shapes


def _clip(config: dict[str, Any]) -> Shapes:
    width, text = config["clip_vision_width"], config["clip_transformer_width"]
    patch, joint = config["clip_vision_patch_size"], config["clip_embed_dim"]
    patches = (config["image_res"] // patch) ** 2
    return {
        "positional_embedding": (config["clip_context_length"], text),
        "text_projection": (text, joint),
        "logit_scale": (),
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (patches + 1, width),
        "visual.proj": (width, joint),
        "visual.conv1.weight": (width, 3, patch, patch),
        **_below("visual.ln_pre", _norm(width)),
        **_blocks("visual.transformer", width, config["clip_vision_layers"]),
        **_below("visual.ln_post", _norm(width)),
        **_blocks("transformer", text, config["clip_transformer_layers"]),
        "token_embedding.weight": (config["clip_vocab_size"], text),
        **_below("ln_final", _norm(text)),
    }


def _blocks(name: str, width: int, count: int) -> Shapes:
    block = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        **_below("attn.out_proj", _linear(width, width)),
        **_below("ln_1", _norm(width)),
        **_below("mlp.c_fc", _linear(4 * width, width)),
        **_below("mlp.c_proj", _linear(width, 4 * width)),
        **_below("ln_2", _norm(width)),
    }
    return _repeat(f"{name}.resblocks", block, count)


def _bert(bert: dict[str, Any], layers: int, *, cross: bool) -> Shapes:
    width = bert["hidden_size"]
    return {
        "embeddings.position_ids": (1, bert["max_position_embeddings"]),
        "embeddings.word_embeddings.weight": (bert["vocab_size"], width),
        "embeddings.position_embeddings.weight": (bert["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (bert["type_vocab_size"], width),
        **_below("embeddings.LayerNorm", _norm(width)),
        **_layers("encoder", bert, layers, cross=cross),
    }


def _layers(name: str, bert: dict[str, Any], count: int, *, cross: bool) -> Shapes:
    width, wide = bert["hidden_size"], bert["intermediate_size"]
    attention = {
        **_below("self.query", _linear(width, width)),
        **_below("self.key", _linear(width, width)),
        **_below("self.value", _linear(width, width)),
        **_below("output.dense", _linear(width, width)),
        **_below("output.LayerNorm", _norm(width)),
    }
    layer = {
        **_below("attention", attention),
        **(_below("crossattention", attention) if cross else {}),
        **_below("intermediate.dense", _linear(wide, width)),
        **_below("output.dense", _linear(width, wide)),
        **_below("output.LayerNorm", _norm(width)),
    }
    return _repeat(f"{name}.layer", layer, count)


def _head(bert: dict[str, Any]) -> Shapes:
    width = bert["hidden_size"]
    return {
        "bias": (bert["vocab_size"],),
        **_below("transform.dense", _linear(width, width)),
        **_below("transform.LayerNorm", _norm(width)),
        **_below("decoder", _linear(bert["vocab_size"], width)),
    }


def _linear(wide: int, narrow: int) -> Shapes:
    return {"weight": (wide, narrow), "bias": (wide,)}


def _norm(width: int) -> Shapes:
    return {"weight": (width,), "bias": (width,)}


def _below(name: str, shapes: Shapes) -> Shapes:
    return {f"{name}.{key}": shape for key, shape in shapes.items()}


def _repeat(name: str, shapes: Shapes, count: int) -> Shapes:
    repeated: Shapes = {}
    for index in range(count):
        repeated |= _below(f"{name}.{index}", shapes)
    return repeated
