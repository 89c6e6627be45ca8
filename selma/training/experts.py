"""The act of training: pictures of prompts in, a LoRA adapter out."""

from collections.abc import Mapping, Sequence
from typing import Any

from selma.diffusion.backbone import Backbone
from selma.training.moments import encode_examples
from selma.training.trainer import Expert, train_expert


def train(rows: Sequence[Mapping[str, Any]], backbone: Backbone, **settings: Any) -> Expert:
    """Train a LoRA adapter on a model's pictures; mutates the backbone's U-Net.

    `rows` are of an images table, in any order; the backbone is frozen and without an adapter;
    `settings` are the keyword arguments of `train_expert`. RecordError if there are no rows or a
    picture is damaged or of another size; SelmaError if loss or gradient are not finite.
    """
    parts = {name: getattr(backbone, name) for name in ("vae", "tokenizer", "text_encoder")}
    examples = encode_examples(rows, **parts)
    return train_expert(backbone.unet, backbone.noise_scheduler, examples, **settings)
