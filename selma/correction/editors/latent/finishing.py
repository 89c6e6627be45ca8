"""The final run: a composition is denoised under the whole prompt, at first held fast; SLD 4.8."""

from typing import TYPE_CHECKING

from selma.correction.editors.latent.composing import Composition
from selma.correction.editors.latent.denoising import Guide
from selma.correction.editors.latent.stacks import Adjust, draw, unchanged
from selma.correction.editors.latent.studio import Studio

if TYPE_CHECKING:
    from torch import Tensor


def finish(
    composition: Composition, guide: Guide, studio: Studio, *, before: Adjust = unchanged
) -> "Tensor":
    """Denoise a composition; the clean latents, (1, C, h, w).

    After each of the first `frozen_share` of the steps, all but the hole is put back as it was
    composed; then the whole picture is free.

    Args:
        composition: what to start from.
        guide: what is asked for.
        studio: the parts.
        before: attention guidance.
    """
    import torch

    levels, stack = studio.levels, composition.stack
    frozen = torch.from_numpy(composition.frozen).to(stack.device)
    frozen_steps = int(levels.steps * min(max(studio.settings.frozen_share, 0.0), 1.0))

    def hold(latents: "Tensor", step: int) -> "Tensor":
        return torch.where(frozen, stack[step + 1], latents) if step < frozen_steps else latents

    start = torch.where(frozen, stack[:1], studio.noise("hole"))
    return draw(start, guide, levels, before=before, after=hold)[-1:]
