"""Stacks: the latents of a picture at all noise levels, by inversion or by drawing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from selma.correction.editors.latent.denoising import Guide
from selma.correction.editors.latent.levels import Levels

if TYPE_CHECKING:
    from torch import Tensor

# Latents, the step's number → those with which it goes on.
Adjust = Callable[["Tensor", int], "Tensor"]


def invert(clean: "Tensor", guide: Guide, levels: Levels) -> "Tensor":
    """Find the latents at every level from which DDIM comes to given clean ones, nearly.

    The model is asked at the level that a step starts from, as the published code's diffusers
    0.20 did; diffusers' present inverse scheduler asks at the level that it ends at, but there a
    velocity means something else.

    Args:
        clean: (1, C, h, w), float32.
        guide: asked without regions.
        levels: T + 1 of them.

    Returns:
        The stack, (T + 1, C, h, w), the noisiest first and `clean` last.
    """
    import torch

    latents = [clean]
    for step in reversed(range(levels.steps)):
        timestep = levels.timestep(step + 1)
        prediction = guide.predict(latents[-1], step, timestep)
        latents.append(levels.invert(prediction, latents[-1], step))
    return torch.cat(latents[::-1])


def unchanged(latents: "Tensor", step: int) -> "Tensor":
    return latents


def draw(
    start: "Tensor", guide: Guide, levels: Levels, *,
    first_step: int = 0, before: Adjust = unchanged, after: Adjust = unchanged,
) -> "Tensor":  # fmt: skip
    """Draw from latents of level `first_step` on.

    Args:
        start: (1, C, h, w), float32.
        guide: what is asked for.
        levels: T + 1 of them.
        first_step: 0 to begin with plain noise.
        before: changes the latents from which a step predicts.
        after: changes the latents that a step ends with.

    Returns:
        The latents of the levels from `first_step` on, (T + 1 − first_step, C, h, w).
    """
    import torch

    latents = [start]
    for step in range(first_step, levels.steps):
        seen = before(latents[-1], step)
        prediction = guide.predict(seen, step, levels.timestep(step))
        latents.append(after(levels.denoise(prediction, seen, step), step))
    return torch.cat(latents)
