"""Attend-and-Excite: each noun of a prompt is looked for somewhere; arXiv 2301.13826."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from selma.diffusion.samplers.guiding import Gaze, Loss, guided_steps, with_rows
from selma.diffusion.samplers.phrases import Phrases, phrase_tokens
from selma.diffusion.steps import Step, take_step

if TYPE_CHECKING:
    from torch import Tensor

    from selma.diffusion.backbone import TextEncoder

SHARPNESS = 100  # by which attention is multiplied before it is shared out among the tokens
SMOOTHING = 0.3678794411714423  # exp(−1): a neighbour's weight, the published kernel's


@dataclass(frozen=True)
class Refinement:
    """A step in which latents are moved until attention is high enough."""

    at_share: float  # of the steps: 0, 0.2 and 0.4 as published, of 50
    attention: float  # of the least seen noun: 0.05, 0.5, 0.8


@dataclass(frozen=True)
class AttendAndExcite:
    """Takes a step from latents that were moved along the gradient of `neglect_loss`.

    Departs from the published code: the nouns are found by a grammar, not named by a person, and a
    noun of several tokens is its last; the model sees latents scaled as the noise scheduler does.
    """

    gaze: Gaze
    encoder: "TextEncoder"
    phrases: Phrases
    step_size: float  # of the first step; published: 20
    steps_share: float  # of the steps, the first; published: 25 of 50
    refinements: Sequence[Refinement]
    iterations_max: int  # of a refinement; published: 20

    def __call__(self, step: Step) -> "Tensor":
        """Take a step; a picture without a noun takes it as it is."""
        losses = {
            row: loss for row, prompt in enumerate(step.prompts) if (loss := self._loss(prompt))
        }
        if not losses or not guided_steps(self.steps_share, step):
            return take_step(step)
        moved = self._moved(step, losses)
        return take_step(replace(step, latents=moved))

    def _moved(self, step: Step, losses: Mapping[int, Loss]) -> "Tensor":
        """Refine the pictures that need it, then go once along each one's gradient."""
        latents, rows = step.latents, list(losses)
        size = step_size(self.step_size, step)
        for _ in range(self.iterations_max):
            wanted = self._wanted(step)
            if wanted is None or not rows:
                break
            found, gradient = self.gaze.look(
                step, latents[rows], rows, [losses[row] for row in rows]
            )
            behind = [place for place, loss in enumerate(found.tolist()) if loss > 1 - wanted]
            rows = [rows[place] for place in behind]
            latents = with_rows(latents, rows, latents[rows] - size * gradient[behind])
        rows = list(losses)
        _, gradient = self.gaze.look(step, latents[rows], rows, list(losses.values()))
        return with_rows(latents, rows, latents[rows] - size * gradient)

    def _wanted(self, step: Step) -> float | None:
        """The attention that is wanted in a step, if it is one of refinement."""
        for one in self.refinements:
            if step.number == round(one.at_share * step.inference_steps):
                return one.attention
        return None

    def _loss(self, prompt: str) -> "partial[Tensor] | None":
        found = phrase_tokens(self.encoder.tokenizer, prompt, self.phrases(prompt))
        nouns = sorted({phrase.noun[-1] for phrase in found})
        return partial(neglect_loss, nouns=nouns) if nouns else None


def step_size(first: float, step: Step) -> float:
    """Shrink the first step's size to √½ of it at the last, as the square root of a straight line.

    Source: the published code; the paper has α_t alone.
    """
    last = max(step.inference_steps - 1, 1)
    done = min(step.number / last, 1.0)
    return float(first * (1 - done / 2) ** 0.5)


def neglect_loss(maps: "Tensor", nouns: Sequence[int]) -> "Tensor":
    """Say how little the least seen noun is seen: 1 − its strongest, smoothed cell.

    Attention is shared out anew among the tokens between the first and the last, sharply.
    Source: section 3.1 of the paper, equation 1; the kernel is the published code's.

    Args:
        maps: (tokens, rows, columns).
        nouns: their tokens, at least one.
    """
    shares = (SHARPNESS * maps[1:-1]).softmax(dim=0)
    seen = smoothed(shares[[noun - 1 for noun in nouns]])
    return (1 - seen.flatten(1).amax(dim=1)).amax()


def smoothed(maps: "Tensor") -> "Tensor":
    """Smooth maps (n, rows, columns) over each cell's neighbours, mirrored at the border."""
    from torch.nn.functional import conv2d, pad

    line = maps.new_tensor([SMOOTHING, 1.0, SMOOTHING])
    kernel = (line[:, None] * line) / line.sum() ** 2
    padded = pad(maps[:, None], (1, 1, 1, 1), mode="reflect")
    return conv2d(padded, kernel[None, None])[:, 0]
