"""The act of training: pictures of prompts in, LoRA adapters out."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from selma.diffusion.backbone import Backbone
from selma.training.loop import Checkpointing
from selma.training.moments import encode_examples
from selma.training.trainer import Expert, train_experts


def train(
    images: Mapping[str, Iterable[Mapping[str, Any]]], backbone: Backbone, directory: Path, *,
    flip: bool, checkpoint_every_steps: int, **settings: Any,
) -> dict[str, Expert]:  # fmt: skip
    """Train a LoRA adapter on each skill's pictures, all in one pass; mutates the denoiser.

    `images` are rows of images tables by skill, in any order; the backbone is frozen and without an
    adapter; `directory` keeps the encoded pictures and the progress; `settings` are the keyword
    arguments of `train_experts`. RecordError if there are no rows or a picture is damaged or of
    another size; SelmaError if loss or gradient are not finite.
    """
    examples = {
        name: encode_examples(rows, backbone, directory / name, flip=flip)
        for name, rows in images.items()
    }
    checkpointing = Checkpointing(directory / "state.safetensors", checkpoint_every_steps)
    return train_experts(backbone, examples, flip=flip, checkpointing=checkpointing, **settings)
