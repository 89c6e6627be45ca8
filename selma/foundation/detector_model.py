"""The pocket world's detector before it is trained: a small OWLv2, of stock parts."""

import copy
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selma.foundation.training import load_as_float32, round_to_float16
from selma.pocket.scenes import CANVAS_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.nn import Parameter
    from transformers import CLIPTokenizer, Owlv2ForObjectDetection
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

PATCH_PX = 4
PATCHES = CANVAS_PX // PATCH_PX  # a side
MAX_TOKENS = 16  # of a query, as in the published models
WIDTH, HEADS, VISION_LAYERS = 64, 8, 4
TEXT_WIDTH, TEXT_LAYERS = 64, 2
FIRST_SCALE, FIRST_SHIFT = 10.0, -0.5  # of logits: nearly everything is nothing
PIXEL_GAIN = 5.0  # of the first weights of the patches' embedding
NEIGHBOURS = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0))  # of a head
FREQUENCIES = (0.6, 1.5)  # of positions; a wave's sine and cosine for each axis
POSITIONS = 2 * 2 * len(FREQUENCIES)  # dimensions
POSITION_AMPLITUDE = 0.7
POSITION_GAIN = 2.5  # of attention's first queries and keys: a head looks at one neighbour
UNUSED = ("owlv2.logit_scale", "owlv2.visual_projection.weight")  # of contrastive pre-training


def build_detector(tokenizer: "CLIPTokenizer", seed: int) -> "Owlv2ForObjectDetection":
    """Build an untrained OWLv2 for 32×32 pictures, with a box for each of 8×8 patches."""
    import torch
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    vision = _tower(WIDTH, VISION_LAYERS) | {"image_size": CANVAS_PX, "patch_size": PATCH_PX}
    text = _tower(TEXT_WIDTH, TEXT_LAYERS) | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(seed)
    config = Owlv2Config(vision_config=vision, text_config=text, projection_dim=TEXT_WIDTH)
    model = Owlv2ForObjectDetection(config)
    _start_near(model)
    return model


def _start_near(model: "Owlv2ForObjectDetection") -> None:
    """Change the first weights so that a patch sees what is beside it; mutates them.

    Some dimensions hold positions alone, and each head attends to one of the eight neighbours, as a
    convolution does (compare arXiv 2401.12511): without, a tower this small takes very long to find
    out what is beside what, and so what shapes are. The heads are drawn anew, as linear layers are:
    the class draws them with a deviation of 1.
    """
    import torch

    vision, head = model.owlv2.vision_model, model.class_head
    for layer in (p for h in (head, model.box_head, model.objectness_head) for p in h.modules()):
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    with torch.no_grad():
        head.logit_scale.bias.fill_(FIRST_SCALE)
        head.logit_shift.bias.fill_(FIRST_SHIFT)
        patches = vision.embeddings.patch_embedding.weight  # (WIDTH, 3, PATCH_PX, PATCH_PX)
        patches.mul_(PIXEL_GAIN)
        patches[:POSITIONS] = 0
        places = vision.embeddings.position_embedding.weight  # (1 + PATCHES², WIDTH)
        places[:, :POSITIONS] = 0
        places[1:, :POSITIONS] = torch.from_numpy(POSITION_AMPLITUDE * _positions())
        for layer in vision.encoder.layers:
            attention = layer.self_attn
            for part in (attention.out_proj, layer.mlp.fc2):
                part.weight[:POSITIONS] = 0  # at first, nothing writes over positions
            attention.q_proj.weight.zero_()
            attention.k_proj.weight.zero_()
            heads = zip(attention.q_proj.weight.chunk(HEADS), NEIGHBOURS, strict=True)
            for rows, (x, y) in heads:
                rows[:POSITIONS, :POSITIONS] = POSITION_GAIN * torch.from_numpy(_turn(x, y))
            for rows in attention.k_proj.weight.chunk(HEADS):
                rows[:POSITIONS, :POSITIONS] = POSITION_GAIN * torch.eye(POSITIONS)


def _positions() -> "NDArray[np.float32]":
    """Write where each patch is, (PATCHES², POSITIONS): waves of columns, then of rows."""
    rows, columns = np.divmod(np.arange(PATCHES**2), PATCHES)
    angles = [f * place for place in (columns, rows) for f in FREQUENCIES]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=1).astype(np.float32)


def _turn(x: int, y: int) -> "NDArray[np.float32]":
    """Make the matrix that takes a place's position to that of its neighbour (x, y) patches on."""
    matrix = np.zeros((POSITIONS, POSITIONS), np.float32)
    for n, angle in enumerate([f * step for step in (x, y) for f in FREQUENCIES]):
        pair = slice(2 * n, 2 * n + 2)
        matrix[pair, pair] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return matrix


def _tower(width: int, layers: int) -> dict[str, Any]:
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    return {**sizes, "num_attention_heads": HEADS, "hidden_act": "gelu"}


def build_image_processor() -> "Owlv2ImageProcessorPil":
    """Make what turns pictures into pixels in [−1, 1]."""
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    return Owlv2ImageProcessorPil(
        size={"height": CANVAS_PX, "width": CANVAS_PX}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


def trained_parameters(model: "Owlv2ForObjectDetection") -> "dict[str, Parameter]":
    """List the weights that decide what is detected."""
    return {name: value for name, value in model.named_parameters() if name not in UNUSED}


def save_detector(model: "Owlv2ForObjectDetection", tokenizer: "CLIPTokenizer", out: Path) -> None:
    """Write weights, configs and processor to a directory, whole or not at all.

    The weights are stored as float16; the model's own are rounded to them first.
    """
    from transformers import Owlv2Processor

    round_to_float16(dict(model.named_parameters()))
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    copy.deepcopy(model).half().save_pretrained(part)
    load_as_float32(part)
    own = copy.deepcopy(tokenizer)
    own.model_max_length = MAX_TOKENS
    Owlv2Processor(build_image_processor(), own).save_pretrained(part)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)
