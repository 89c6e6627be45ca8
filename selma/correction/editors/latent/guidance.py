"""Attention guidance: latents are changed so that added objects are looked for in their boxes.

LMD, arXiv 2305.13655, as SLD uses it, with two differences. Each step looks at its own loss; the
published code keeps the last one, and never guides again once it was small. And the model is told
of the boxes while it is guided, as it is in the step itself; there it saw empty slots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selma.correction.editors.latent.denoising import Guide
from selma.correction.editors.latent.levels import Levels
from selma.correction.editors.latent.settings import AttentionGuidance
from selma.correction.geometry import cells_of
from selma.correction.layout import Box
from selma.diffusion.attention import Maps, grid_of, watched

if TYPE_CHECKING:
    from torch import Tensor

_NEAR_ZERO = 1e-5
Reference = Sequence[Mapping[str, "Tensor"]]  # by step: layer → (heads, cells)


@dataclass(frozen=True)
class Target:
    """A phrase, where its objects shall be, and how each was looked at when drawn on its own."""

    tokens: tuple[int, ...]
    word: int  # the token by which an object was drawn on its own
    boxes: tuple[Box, ...]
    references: tuple[Reference, ...]  # of each box


def attention_loss(
    maps: Maps, targets: Sequence[Target], step: int, settings: AttentionGuidance,
    latent_size: tuple[int, int],
) -> "Tensor":  # fmt: skip
    """Say how far attention is from where it should be: spec 4.8 of SLD.

    For each phrase, token and head, the strongest cells inside the boxes should be 1 and those
    outside 0; for each object, attention in its box should be spread as when it was drawn alone.

    Args:
        maps: of one picture, layer → (1, heads, cells, tokens).
        targets: at least one.
        step: whose references count.
        settings: the weights and shares.
        latent_size: rows and columns.
    """
    import torch

    terms = []
    for target in targets:
        for layer, seen in maps.items():
            grid = grid_of(seen.shape[2], latent_size)
            inside = [_box_mask(box, grid, seen) for box in target.boxes]
            union = torch.stack(inside).amax(dim=0)  # (cells,)
            phrase = seen[0][:, :, list(target.tokens)].permute(2, 0, 1)  # (tokens, heads, cells)
            terms.append(_contrast(phrase, union, settings))
            word = seen[0][:, :, target.word]  # (heads, cells)
            for mask, reference in zip(inside, target.references, strict=True):
                own = reference[step][layer].to(seen.device)
                apart = (_spread(word, mask) - _spread(own, mask)).abs().sum(dim=-1).mean()
                terms.append(settings.transfer_weight * apart / len(inside))
    return torch.stack(terms).sum() / (len(targets) * len(maps))


def _contrast(phrase: "Tensor", union: "Tensor", settings: AttentionGuidance) -> "Tensor":
    near = _strongest(phrase * union, settings.foreground_share, union)
    far = _strongest(phrase * (1 - union), settings.background_share, 1 - union)
    loss = (1 - near) + settings.background_weight * far  # (tokens, heads)
    return loss.sum(dim=-1).mean()


def _strongest(attention: "Tensor", share: float, mask: "Tensor") -> "Tensor":
    count = max(1, int(share * float(mask.sum())))
    return attention.topk(count, dim=-1).values.mean(dim=-1)


def _spread(attention: "Tensor", mask: "Tensor") -> "Tensor":
    inside = attention * mask
    return inside / (inside.sum(dim=-1, keepdim=True) + _NEAR_ZERO)


def _box_mask(box: Box, grid: tuple[int, int], like: "Tensor") -> "Tensor":
    mask = like.new_zeros(grid)
    mask[cells_of(box, grid).slices] = 1
    return mask.flatten()


@dataclass(frozen=True)
class AttentionGuide:
    """Changes latents before a step, as `stacks.draw` wants it."""

    guide: Guide
    levels: Levels
    targets: Sequence[Target]
    settings: AttentionGuidance
    layers: Sequence[str]
    unet: Any

    def __call__(self, latents: "Tensor", step: int) -> "Tensor":
        """Follow the gradient until the loss is small or the step's iterations are used up."""
        iterations = self.settings.iterations
        for _ in range(iterations[step] if step < len(iterations) else 0):
            loss, gradient = self.look(latents, step)
            if loss <= self.settings.stop_below:
                break
            latents = latents - self.levels.noise_deviation(step) * gradient
        return latents

    def look(self, latents: "Tensor", step: int) -> tuple[float, "Tensor"]:
        """Compute the loss, and the gradient of `weight` times it with respect to the latents."""
        import torch

        with torch.enable_grad(), watched(self.unet, self.layers) as maps:
            variable = latents.detach().requires_grad_()
            self.guide.predict_wanted(variable, step, self.levels.timestep(step))
            size = (int(latents.shape[2]), int(latents.shape[3]))
            loss = attention_loss(maps, self.targets, step, self.settings, size)
            (gradient,) = torch.autograd.grad(self.settings.weight * loss, variable)
        return float(loss.detach()), gradient
