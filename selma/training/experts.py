"""The act of training: pictures of prompts in, LoRA adapters out."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from selma.diffusion.backbone import Backbone
from selma.training.loop import Checkpointing
from selma.training.moments import Examples, encode_examples
from selma.training.pairs import encode_pairs
from selma.training.steps import PairSteps
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


def train_on_pairs(
    name: str, read: Callable[[], Iterable[Mapping[str, Any]]], backbone: Backbone,
    directory: Path, *, min_gap: float, beta: float, stop: Mapping[str, Any] | None, flip: bool,
    checkpoint_every_steps: int, **settings: Any,
) -> tuple[Trained, Mapping[str, int]]:  # fmt: skip
    """Train a LoRA adapter to prefer each prompt's best picture to its worst; Diffusion-DPO.

    `read` gives rated pictures as `encode_pairs` wants them, which also says what `min_gap` is and
    what counts come back; `beta` and `stop` are of `PairSteps`; all else is as in `train`. A step's
    `batch_size` is of pairs, `micro_batch_size` of pictures.
    """
    pairs, counts = encode_pairs(read, backbone, directory / name, min_gap=min_gap, flip=flip)
    kept = checkpointing(directory, checkpoint_every_steps)
    steps_of = partial(PairSteps, beta=beta, stop=stop)
    trained = train_experts(
        backbone, {name: pairs}, flip=flip, checkpointing=kept, steps_of=steps_of, **settings
    )
    return trained[name], counts


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
