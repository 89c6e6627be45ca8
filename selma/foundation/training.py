"""How every model of the factory is trained and stored, and its training set kept."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from selma.core.files import written_whole
from selma.runtime.progress import training_progress
from selma.training.loop import Checkpointing, TrainingState, train

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

A = TypeVar("A")


def fit(
    title: str, keep: Path, train_steps: int, every_steps: int, *,
    parameters: "Mapping[str, Parameter]", loss_at: "Callable[[int], Tensor]", **options: Any,
) -> TrainingState:  # fmt: skip
    """Run `selma.training.loop.train` under a bar; `keep` holds the state of a stopped run."""
    checkpoints = Checkpointing(keep, every_steps)
    with _one_order(), training_progress(train_steps, title) as on_step:
        return train(
            [parameters], parts_at=lambda step: [lambda: loss_at(step)], train_steps=train_steps,
            checkpointing=checkpoints, on_step=on_step, **options,
        )  # fmt: skip


@contextlib.contextmanager
def _one_order() -> "Iterator[None]":
    """Let several threads sum the gradients of what is indexed more than once in one order."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def kept_arrays(path: Path, kind: type[A], build: Callable[[], A]) -> A:
    """Take a dataclass of arrays from an .npz file, or build it and keep it there for a restart."""
    import numpy as np

    if not path.exists():
        built = build()
        with written_whole(path) as part, part.open("wb") as file:
            np.savez(file, **vars(built))
    with np.load(path) as arrays:
        return kind(**arrays)


def round_to_float16(parameters: "Mapping[str, Tensor]") -> None:
    """Round weights in place to what their float16 file will hold; mutates them."""
    import torch

    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(parameter.half().float())


def load_as_float32(directory: Path) -> None:
    """Note in a transformers model's config that its weights are to be loaded as float32."""
    path = directory / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"dtype": "float32"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
