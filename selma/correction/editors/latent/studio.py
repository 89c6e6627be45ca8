"""What every part of an edit works with: the model, its levels, a segmenter, the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from selma.core.seeds import derive_seed
from selma.correction.editors.latent.denoising import Guide, Wish
from selma.correction.editors.latent.levels import Levels
from selma.correction.editors.latent.settings import LatentSettings
from selma.correction.editors.latent.stacks import invert
from selma.correction.layout import Box
from selma.correction.masks import Mask, to_grid
from selma.correction.segmenters.protocol import Candidates, Segmenter
from selma.diffusion.gated import GatedStableDiffusion, Region
from selma.diffusion.requests import to_uint8

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """An object in a picture's latents: which cells are its own, and its stack."""

    mask: Mask  # (rows, columns)
    stack: "Tensor"  # (T + 1, C, rows, columns), float32


@dataclass(frozen=True)
class Studio:
    """The parts, for one edit; `seed` is the edit's."""

    backbone: GatedStableDiffusion
    levels: Levels
    segmenter: Segmenter
    settings: LatentSettings
    attention_layers: Sequence[str]
    seed: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        return self.backbone.latent_shape[1:]

    def noise(self, *names: str, count: int = 1) -> "Tensor":
        """Draw standard normal latents from the edit's seed and names, (count, C, h, w)."""
        import torch

        generator = torch.Generator().manual_seed(derive_seed(self.seed, "latent", *names))
        shape = (count, *self.backbone.latent_shape)
        return torch.randn(shape, generator=generator).to(self.backbone.device)

    def freshen(self, latents: "Tensor", inside: "Tensor", share: float, *names: str) -> "Tensor":
        """Mix a share, in variance, of noise of its own into some cells; the variance stays.

        Args:
            latents: (1, C, h, w), mostly noise.
            inside: which cells, bool, (h, w).
            share: 0 changes nothing, 1 leaves nothing of the latents.
            names: of the noise; see `noise`.
        """
        import torch

        mixed = (1 - share) ** 0.5 * latents + share**0.5 * self.noise(*names)
        return torch.where(inside, mixed, latents)

    def guide(self, wish: Wish, *, grounded: bool) -> Guide:
        """Prepare to ask for something; not `grounded`: the gated layers stay off."""
        share = self.settings.gligen_share if grounded else 0.0
        return Guide(self.backbone, wish, int(share * self.levels.steps))

    def encode(self, picture: "Image", *names: str) -> "Tensor":
        """Sample a picture's latents from the VAE's posterior, (1, C, h, w), float32."""
        import torch

        pixels = torch.from_numpy(np.array(picture, dtype=np.float32)) / 127.5 - 1  # (H, W, 3)
        mean, deviation = self.backbone.encode_pictures(pixels.permute(2, 0, 1)[None])
        return mean + deviation * self.noise("posterior", *names)

    def invert(self, picture: "Image", *names: str) -> "Tensor":
        """Invert a picture to a stack, with the settings' prompt; `names` make its seed."""
        settings = self.settings
        wish = Wish(
            settings.inversion_prompt, settings.negative_prompt, settings.inversion_guidance
        )
        guide = self.guide(wish, grounded=False)
        return invert(self.encode(picture, *names), guide, self.levels)

    def decode(self, latents: "Tensor") -> "Image":
        """Decode latents (1, C, h, w) to a picture; BackendError if it is not finite."""
        from PIL import Image

        pixels = self.backbone.decode(latents).float()[0] / 2 + 0.5
        values = pixels.clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(to_uint8(values[None], ["an edited picture"])[0])

    def segment(self, picture: "Image", boxes: Sequence[Box]) -> list[Candidates]:
        """Find the objects in boxes; does not ask without boxes."""
        return self.segmenter.segment(picture, boxes) if boxes else []

    def to_grid(self, candidates: Candidates) -> Mask:
        """Make a mask on the latent grid of all candidates together."""
        return to_grid(candidates.masks, dilation_px=self.settings.dilation_px, grid=self.grid)


def region(phrase: str, box: Box) -> Region:
    """Say to a gated model what is drawn in a box."""
    return Region(phrase, (box.x, box.y, box.right, box.bottom))
