"""Stable Diffusion with GLIGEN's gated layers: objects named by a phrase are drawn in boxes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from selma.core.errors import BackendError
from selma.diffusion.backbone import Conditions
from selma.diffusion.parts import Parts
from selma.diffusion.stable_diffusion import StableDiffusion, load_unet

if TYPE_CHECKING:
    import torch

SLOTS = 30  # objects that one picture can be told of, as GLIGEN was trained


class Region(NamedTuple):
    """A phrase, and where it shall be drawn: left, top, right, bottom, fractions of the picture."""

    phrase: str
    corners: tuple[float, float, float, float]


class GatedStableDiffusion(StableDiffusion):
    """Stable Diffusion 1 with gated self-attention; GLIGEN, arXiv 2301.07093.

    Conditions may hold what is drawn where: `boxes` (N, SLOTS, 4), `phrases` (N, SLOTS, width) and
    `present` (N, SLOTS), 1 where a slot is used. Without them it is the plain model.
    """

    @classmethod
    def load_denoiser(cls, parts: Parts) -> Any:
        """Load the U-Net with its gated layers, also where its config has the fork's old flag.

        Raises:
            BackendError: its layers are of another kind, or the file holds weights that the U-Net
                has no place for.
            RecordError: the file lacks the gated layers.
        """
        unet = load_unet(parts, every_weight=True, attention_type="gated")
        if unet.config.attention_type != "gated" or not hasattr(unet, "position_net"):
            raise BackendError(
                f"{parts.path}/unet: its attention_type is {unet.config.attention_type!r}; "
                "GLIGEN with text and boxes has 'gated'"
            )
        return unet

    def ground(self, pictures: Sequence[Sequence[Region]]) -> Conditions:
        """Say for each picture what is drawn where; merge it into `encode_prompts`' conditions.

        A picture without regions has empty slots alone, for which the model learned a token of its
        own; this is also what classifier-free guidance compares with.

        Args:
            pictures: N lists of at most SLOTS regions, ValueError if more.
        """
        import torch

        if any(len(regions) > SLOTS for regions in pictures):
            raise ValueError(f"a picture has {max(map(len, pictures))} regions, {SLOTS} at most")
        states = self._phrase_states([one.phrase for regions in pictures for one in regions])
        width = self.denoiser.config.cross_attention_dim
        boxes = torch.zeros(len(pictures), SLOTS, 4)
        phrases = torch.zeros(len(pictures), SLOTS, width)
        present = torch.zeros(len(pictures), SLOTS)
        for row, regions in enumerate(pictures):
            for slot, region in enumerate(regions):
                boxes[row, slot] = torch.tensor(region.corners)
                phrases[row, slot] = states[region.phrase]
                present[row, slot] = 1
        given = {"boxes": boxes, "phrases": phrases, "present": present}
        return {name: one.to(self.device, self.denoiser.dtype) for name, one in given.items()}

    def _phrase_states(self, phrases: Sequence[str]) -> "dict[str, torch.Tensor]":
        """Read each different phrase once, to its pooled state (width,)."""
        import torch

        different = list(dict.fromkeys(phrases))
        if not different:
            return {}
        (encoder,) = self.encoders
        tokens = encoder.tokens(different)
        with torch.no_grad():
            pooled = encoder.model(tokens.input_ids).pooler_output  # (phrases, width)
        return dict(zip(different, pooled.float().cpu(), strict=True))

    def _attention(self, conditions: Conditions) -> dict[str, Any] | None:
        if "boxes" not in conditions:
            return None
        boxes, phrases = conditions["boxes"], conditions["phrases"]
        masks = conditions["present"]
        return {"gligen": {"boxes": boxes, "positive_embeddings": phrases, "masks": masks}}
