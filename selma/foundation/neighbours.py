"""First weights of a small vision tower with which a patch sees what is beside it.

Some dimensions hold positions alone, and each head attends to one of the eight neighbours, as a
convolution does (compare arXiv 2401.12511): without, a tower this small takes very long to find out
what is beside what, and so what shapes are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

NEIGHBOURS = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0))  # of a head
HEADS = len(NEIGHBOURS)
PIXEL_DEVIATION = 0.1  # of the first weights of the patches' embedding
FREQUENCIES = (0.6, 1.5)  # of positions; a wave's sine and cosine for each axis
POSITIONS = 2 * 2 * len(FREQUENCIES)  # dimensions
POSITION_AMPLITUDE = 0.7
POSITION_GAIN = 2.5  # of attention's first queries and keys: a head looks at one neighbour


@dataclass(frozen=True)
class LayerWeights:
    """What is changed of a tower's layer: query and key, (D, D), and what writes its outputs."""

    query: "Tensor"
    key: "Tensor"
    outputs: "tuple[Tensor, Tensor]"  # of attention and of the multilayer perceptron, (D, …) each


def start_clip_near(vision: Any) -> None:
    """Change the first weights of a CLIP's or OWLv2's vision tower; mutates them."""
    layers = [
        LayerWeights(
            layer.self_attn.q_proj.weight,
            layer.self_attn.k_proj.weight,
            (layer.self_attn.out_proj.weight, layer.mlp.fc2.weight),
        )
        for layer in vision.encoder.layers
    ]
    start_near(vision, vision.embeddings.position_embedding.weight, layers)


def start_blip_near(vision: Any) -> None:
    """Change the first weights of a BLIP's vision tower; mutates them."""
    layers = []
    for layer in vision.encoder.layers:
        query, key, _ = layer.self_attn.qkv.weight.detach().chunk(3)
        outputs = (layer.self_attn.projection.weight, layer.mlp.fc2.weight)
        layers.append(LayerWeights(query, key, outputs))
    start_near(vision, vision.embeddings.position_embedding[0], layers)


def start_near(vision: Any, places: "Tensor", layers: Sequence[LayerWeights]) -> None:
    """Change a tower's first weights in place; mutates them.

    Args:
        vision: the tower; a head has at least POSITIONS of its width D.
        places: the positions' embedding, (1 + P², D), the first row for the class token.
        layers: the weights of each layer, which has HEADS heads.
    """
    import torch

    with torch.no_grad():
        patches = vision.embeddings.patch_embedding.weight  # (D, 3, px, px)
        patches.mul_(PIXEL_DEVIATION / vision.config.initializer_range)
        patches[:POSITIONS] = 0
        places[:, :POSITIONS] = 0
        side = round((len(places) - 1) ** 0.5)
        places[1:, :POSITIONS] = torch.from_numpy(POSITION_AMPLITUDE * _positions(side))
        for layer in layers:
            for output in layer.outputs:
                output[:POSITIONS] = 0  # at first, nothing writes over positions
            layer.query.zero_()
            layer.key.zero_()
            for rows, (x, y) in zip(layer.query.chunk(HEADS), NEIGHBOURS, strict=True):
                rows[:POSITIONS, :POSITIONS] = POSITION_GAIN * torch.from_numpy(_turn(x, y))
            for rows in layer.key.chunk(HEADS):
                rows[:POSITIONS, :POSITIONS] = POSITION_GAIN * torch.eye(POSITIONS)


def _positions(side: int) -> "NDArray[np.float32]":
    """Write where each patch is, (side², POSITIONS): waves of columns, then of rows."""
    rows, columns = np.divmod(np.arange(side**2), side)
    angles = [f * place for place in (columns, rows) for f in FREQUENCIES]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=1).astype(np.float32)


def _turn(x: int, y: int) -> "NDArray[np.float32]":
    """Make the matrix that takes a place's position to that of its neighbour (x, y) patches on."""
    matrix = np.zeros((POSITIONS, POSITIONS), np.float32)
    for n, angle in enumerate([f * step for step in (x, y) for f in FREQUENCIES]):
        pair = slice(2 * n, 2 * n + 2)
        matrix[pair, pair] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return matrix
