"""Second moments of what the denoiser's attention reads of prompts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selma.diffusion.backbone import PROMPTS_AT_ONCE, Backbone

if TYPE_CHECKING:
    import torch


def text_gram(prompts: Sequence[str], backbone: Backbone) -> "torch.Tensor":
    """Compute G = XᵀX / tokens, (width, width) float64 on the CPU, of prompts' text states X.

    X has a row for each token of each prompt as the cross-attention reads them: padding too, since
    Stable Diffusion's attention is not masked and its keys and values of padding count as any
    other. The empty prompt of guidance is not among them: it tells of no skill.

    The prompts' order does not matter; one that occurs twice counts twice.
    """
    import torch

    ordered, total, tokens = sorted(prompts), torch.zeros(()), 0
    for start in range(0, len(ordered), PROMPTS_AT_ONCE):
        states = backbone.encode_prompts(ordered[start : start + PROMPTS_AT_ONCE])["text"]
        rows = states.flatten(0, 1).cpu().double()  # (N · tokens, width)
        total, tokens = total + rows.T @ rows, tokens + len(rows)
    return total / tokens
