"""What is done in one step of drawing: the seam where a way of drawing differs from another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Step:
    """One step of a batch, and what can be done in it.

    `predict` asks the backbone, as its weights now are, what to do with latents, by classifier-free
    guidance; `ask` does so by the prompts alone, for some rows of the batch, and gradients flow
    through it where they are switched on; `follow` goes from latents by a prediction to the next
    latents, once a step.
    """

    number: int  # from 0
    inference_steps: int  # a noise scheduler may take a few more
    timestep: "torch.Tensor"
    prompts: Sequence[str]  # N
    latents: "torch.Tensor"  # (N, C, h, w)
    predict: Callable[["torch.Tensor"], "torch.Tensor"]
    ask: Callable[["torch.Tensor", tuple[int, ...]], "torch.Tensor"]  # latents of rows, rows
    follow: Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]  # prediction, latents


TakeStep = Callable[[Step], "torch.Tensor"]  # returns the next latents


def take_step(step: Step) -> "torch.Tensor":
    """Predict once and follow: stock classifier-free guidance."""
    return step.follow(step.predict(step.latents), step.latents)
