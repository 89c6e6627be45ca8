"""Asks a gated model what to do with latents, by guidance against a negative prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selma.diffusion.backbone import Conditions
from selma.diffusion.gated import GatedStableDiffusion, Region

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Wish:
    """What is to be drawn. No regions: the model is told that there are none."""

    prompt: str
    negative: str
    guidance_scale: float  # 1.0: off
    regions: Sequence[Region] = ()


class Guide:
    """A wish, encoded once, for one picture.

    Args:
        backbone: what predicts.
        wish: what is asked for.
        grounded_steps: how many steps, from the first on, are told of the regions; after them the
            gated layers are off.
    """

    def __init__(self, backbone: GatedStableDiffusion, wish: Wish, grounded_steps: int) -> None:
        """Encode the wish: the negative prompt without regions, the prompt with them."""
        self._backbone, self._scale = backbone, wish.guidance_scale
        self._grounded_steps = grounded_steps
        self._text = backbone.encode_prompts([wish.negative, wish.prompt])
        self._regions = backbone.ground([[], wish.regions])

    def predict(self, latents: "Tensor", step: int, timestep: int) -> "Tensor":
        """Predict by classifier-free guidance; latents (1, C, h, w), float32.

        The row of the prompt is the last that the model sees.
        """
        if self._scale == 1:
            return self.predict_wanted(latents, step, timestep)
        both = latents.repeat(2, 1, 1, 1)
        unwanted, wanted = self._ask(both, timestep, self._conditions(step)).chunk(2)
        return unwanted + self._scale * (wanted - unwanted)

    def predict_wanted(self, latents: "Tensor", step: int, timestep: int) -> "Tensor":
        """Predict by the prompt and its regions alone."""
        given = {name: rows[1:] for name, rows in self._conditions(step).items()}
        return self._ask(latents, timestep, given)

    def _conditions(self, step: int) -> Conditions:
        return {**self._text, **(self._regions if step < self._grounded_steps else {})}

    def _ask(self, latents: "Tensor", timestep: int, conditions: Conditions) -> "Tensor":
        import torch

        at = torch.tensor(timestep, device=latents.device)
        seen = latents.to(self._backbone.denoiser.dtype)
        return self._backbone.predict(seen, at, conditions).float()
