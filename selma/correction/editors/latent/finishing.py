"""The final run: a composition is denoised under the whole prompt, at first held fast; SLD 4.8."""

from typing import TYPE_CHECKING

from selma.correction.editors.latent.composing import Composition
from selma.correction.editors.latent.denoising import Guide
from selma.correction.editors.latent.levels import Levels
from selma.correction.editors.latent.stacks import Adjust, draw, unchanged

if TYPE_CHECKING:
    from torch import Tensor


def finish(
    composition: Composition, guide: Guide, levels: Levels, *,
    hole: "Tensor", frozen_share: float, before: Adjust = unchanged,
) -> "Tensor":  # fmt: skip
    """Denoise a composition; the clean latents, (1, C, h, w).

    Args:
        composition: what to start from.
        guide: what is asked for.
        levels: of the composition's stack.
        hole: noise that is started from where nothing is held, (1, C, h, w).
        frozen_share: of the steps, from the first on, after which all but the hole is put back as
            it was composed; then the whole picture is free.
        before: attention guidance.
    """
    import torch

    stack = composition.stack
    frozen = torch.from_numpy(composition.frozen).to(stack.device)
    frozen_steps = int(levels.steps * min(max(frozen_share, 0.0), 1.0))

    def hold(latents: "Tensor", step: int) -> "Tensor":
        return torch.where(frozen, stack[step + 1], latents) if step < frozen_steps else latents

    start = torch.where(frozen, stack[:1], hole)
    return draw(start, guide, levels, before=before, after=hold)[-1:]
