"""Puts the stacks of background and objects together, and says what is held fast; SLD 4.7."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from selma.correction.editors.latent.studio import Layer
from selma.correction.masks import Mask, background_mask, frozen_mask, paste_order, union_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Composition:
    """What the final run starts from, and is held to in its first steps."""

    stack: "Tensor"  # (T + 1, C, h, w)
    frozen: Mask  # all but the hole that nothing covers


def compose(
    layers: Sequence[Layer], background: "Tensor", removal: Mask, hole: "Tensor"
) -> Composition:
    """Paste layers onto the background, the largest first.

    Args:
        layers: the edited objects; none if things are only removed.
        background: the picture's stack, (T + 1, C, h, w).
        removal: what is removed, (h, w).
        hole: noise for where nothing is, (C, h, w) or one for each level.
    """
    import torch

    edited = union_of([layer.mask for layer in layers], removal.shape)
    layers = [*layers, Layer(background_mask(edited, removal), background)]
    stack = hole.expand_as(background).clone()
    for number in paste_order([layer.mask for layer in layers]):
        inside = torch.from_numpy(np.ascontiguousarray(layers[number].mask)).to(stack.device)
        stack = torch.where(inside, layers[number].stack, stack)
    return Composition(stack, frozen_mask(edited, removal))
