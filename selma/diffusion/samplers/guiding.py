"""Changes latents before a step so that attention comes nearer to what a prompt says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selma.diffusion.attention import grid_of, mean_over_heads, watched
from selma.diffusion.steps import Step

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor"], "Tensor"]  # a picture's maps (tokens, rows, columns) → ()


@dataclass(frozen=True)
class Gaze:
    """Where a denoiser looks: cross-attention of one size, averaged over heads and layers."""

    unet: Any
    layers: Sequence[str]

    def look(
        self, step: Step, latents: "Tensor", rows: Sequence[int], losses: Sequence[Loss]
    ) -> tuple["Tensor", "Tensor"]:
        """Compute each picture's loss, and its gradient with respect to its latents.

        The loss of a picture depends on its own latents alone, so the gradient of all losses' sum
        has in each row what a batch of one would have.

        Args:
            step: who is asked, by the prompts alone.
            latents: of some pictures, (n, C, h, w).
            rows: the pictures' places in the batch, n.
            losses: one for each, n.

        Returns:
            The losses (n,) and the gradient (n, C, h, w).
        """
        import torch

        with torch.enable_grad(), watched(self.unet, self.layers) as maps:
            variable = latents.detach().requires_grad_()
            step.ask(variable, tuple(rows))
            seen = mean_over_heads(maps).transpose(1, 2)  # (n, tokens, cells)
            grid = grid_of(seen.shape[2], (latents.shape[2], latents.shape[3]))
            seen = seen.reshape(*seen.shape[:2], *grid)
            found = torch.stack([loss(one) for loss, one in zip(losses, seen, strict=True)])
            (gradient,) = torch.autograd.grad(found.sum(), variable)
        return found.detach(), gradient


def guided_steps(share: float, step: Step) -> bool:
    """Tell whether a step is among the first, rounded share of all."""
    return step.number < round(share * step.inference_steps)


def with_rows(latents: "Tensor", rows: Sequence[int], changed: "Tensor") -> "Tensor":
    """Put other latents in some rows' place; the others stay to the bit."""
    result = latents.clone()
    result[list(rows)] = changed
    return result
