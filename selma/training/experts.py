"""The act of training: pictures of prompts in, LoRA adapters out."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from selma.diffusion.backbone import Backbone
from selma.training.loop import Checkpointing
from selma.training.moments import Examples, encode_examples
from selma.training.trainer import Trained, train_experts


def train(
    images: Mapping[str, Iterable[Mapping[str, Any]]], backbone: Backbone, directory: Path, *,
    flip: bool, checkpoint_every_steps: int, **settings: Any,
) -> dict[str, Trained]:  # fmt: skip
    """Train a LoRA adapter on each skill's pictures, all in one pass; mutates the denoiser.

    `images` are rows of images tables by skill, in any order; the backbone is frozen and without an
    adapter; `directory` keeps the encoded pictures and the progress; `settings` are the keyword
    arguments of `train_experts`. RecordError if there are no rows or a picture is damaged or of
    another size; SelmaError if loss or gradient are not finite.
    """
    examples = encode_sets(images, backbone, directory, flip)
    kept = checkpointing(directory, checkpoint_every_steps)
    return train_experts(backbone, examples, flip=flip, checkpointing=kept, **settings)


def encode_sets(
    images: Mapping[str, Iterable[Mapping[str, Any]]], backbone: Backbone, directory: Path,
    flip: bool,
) -> dict[str, Examples]:  # fmt: skip
    """Encode what each name is trained on, see `encode_examples`; all are kept in `directory`."""
    return {
        name: encode_examples(rows, backbone, directory / name, flip=flip)
        for name, rows in images.items()
    }


def checkpointing(directory: Path, every_steps: int) -> Checkpointing:
    """Keep a training's state beside what it was encoded to."""
    return Checkpointing(directory / "state.safetensors", every_steps)
