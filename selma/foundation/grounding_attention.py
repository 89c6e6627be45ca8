"""Shows gated attention where to look: at the grounding tokens whose boxes cover a cell.

The denoising loss alone takes very long to find that a token's box and a cell's place belong
together: after 3,500 steps the pocket model's objects lay in their boxes hardly more often than
without boxes. Told so by this loss, they do after 900 (docs/correction.md has both).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel as UNet
    from torch import Tensor

    from selma.foundation.grounding_set import Grounding


class GatedAttention:
    """The gated self-attentions of a U-Net, with what each saw in the last prediction."""

    def __init__(self, unet: "UNet") -> None:
        self._seen: dict[Any, Tensor] = {}
        self._attentions = [m.fuser.attn for m in unet.modules() if hasattr(m, "fuser")]

    @contextmanager
    def watched(self) -> "Iterator[GatedAttention]":
        """Keep, while open, the inputs of every prediction with grounding."""

        def keep(attention: Any, inputs: "tuple[Tensor]") -> None:
            self._seen[attention] = inputs[0]

        hooks = [attention.register_forward_pre_hook(keep) for attention in self._attentions]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def loss(self, grounding: "Grounding") -> "Tensor":
        """Compute −log of the attention that cells give to the tokens of the boxes over them.

        The mean over cells and boxes, each weighted by the share of the cell that the box covers,
        of the last prediction, then over the attentions. Attention is the mean of its heads.
        """
        import torch

        losses = [self._loss(attention, grounding) for attention in self._attentions]
        return torch.stack(losses).mean()

    def _loss(self, attention: Any, grounding: "Grounding") -> "Tensor":
        seen = self._seen[attention]  # (N, cells + slots, channels)
        cells = seen.shape[1] - grounding.masks.shape[1]
        queries, keys = (
            part.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for part in (attention.to_q(seen[:, :cells]), attention.to_k(seen))
        )
        given = (queries @ keys.transpose(-1, -2) * attention.scale).softmax(-1).mean(1)
        shares = box_coverage(grounding.boxes, isqrt(cells)) * grounding.masks[:, None]
        logarithms = given[..., cells:].clamp(min=1e-6).log()
        weighted: Tensor = -(shares * logarithms).sum() / shares.sum().clamp(min=1e-6)
        return weighted


def box_coverage(boxes: "Tensor", side: int) -> "Tensor":
    """Compute which share of each cell of a square grid each box covers.

    boxes: (N, slots, 4) left, top, right, bottom as fractions. Returns (N, side · side, slots).
    """
    import torch

    edges = torch.arange(side + 1, device=boxes.device) / side

    def covered(first: "Tensor", last: "Tensor") -> "Tensor":
        start = torch.maximum(first[..., None], edges[:-1])
        return (torch.minimum(last[..., None], edges[1:]) - start).clamp(min=0) * side

    left, top, right, bottom = boxes.unbind(-1)
    rows, columns = covered(top, bottom), covered(left, right)  # (N, slots, side)
    return (rows[..., :, None] * columns[..., None, :]).flatten(-2).transpose(1, 2)
