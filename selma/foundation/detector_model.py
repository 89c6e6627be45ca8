"""The pocket world's detector before it is trained: a small OWLv2, of stock parts."""

import copy
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.foundation.neighbours import HEADS, start_clip_near
from selma.foundation.training import load_as_float32, round_to_float16
from selma.pocket.scenes import CANVAS_PX

if TYPE_CHECKING:
    from torch.nn import Parameter
    from transformers import CLIPTokenizer, Owlv2ForObjectDetection
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

PATCH_PX = 4
PATCHES = CANVAS_PX // PATCH_PX  # a side
MAX_TOKENS = 16  # of a query, as in the published models
WIDTH, VISION_LAYERS = 64, 4
TEXT_WIDTH, TEXT_LAYERS = 64, 2
FIRST_SCALE, FIRST_SHIFT = 10.0, -0.5  # of logits: nearly everything is nothing
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
    _start(model)
    return model


def _start(model: "Owlv2ForObjectDetection") -> None:
    """Change the first weights so that a patch sees what is beside it; mutates them.

    The heads are drawn anew, as linear layers are: the class draws them with a deviation of 1.
    """
    import torch

    vision, head = model.owlv2.vision_model, model.class_head
    for layer in (p for h in (head, model.box_head, model.objectness_head) for p in h.modules()):
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    with torch.no_grad():
        head.logit_scale.bias.fill_(FIRST_SCALE)
        head.logit_shift.bias.fill_(FIRST_SHIFT)
    start_clip_near(vision)


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
