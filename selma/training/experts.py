"""The act of training: pictures of prompts in, a LoRA adapter out."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from selma.diffusion.backbone import Backbone
from selma.training.moments import encode_examples
from selma.training.trainer import Expert, train_expert


def train(
    rows: Iterable[Mapping[str, Any]], backbone: Backbone, directory: Path, *, flip: bool,
    **settings: Any,
) -> Expert:  # fmt: skip
    """Train a LoRA adapter on a model's pictures; mutates the backbone's denoiser.

    `rows` are of an images table, in any order; the backbone is frozen and without an adapter;
    `directory` keeps the encoded pictures; `settings` are the keyword arguments of `train_expert`.
    RecordError if there are no rows or a picture is damaged or of another size; SelmaError if loss
    or gradient are not finite.
    """
    examples = encode_examples(rows, backbone, directory, flip=flip)
    return train_expert(backbone, examples, flip=flip, **settings)
