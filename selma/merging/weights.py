"""Merge weights: of an expert, or of each of its blocks."""

import math
from collections.abc import Collection, Mapping

from selma.core.errors import ConfigError

# Per expert one weight, or {all: weight, BLOCK: weight …}; a block is the beginning of layers'
# names up to a dot, the longest that fits counts: unet.mid_block, unet.down_blocks.1.attentions.0
Weights = Mapping[str, "float | Mapping[str, float]"]
REST = "all"
LARGEST = 1e9


def absolute_weights(weights: Weights, scale: float) -> dict[str, dict[str, float]]:
    """Turn weights into the factors scale · wₜ / Σ |w| of experts that are not 0, by block.

    Σ is over the experts' weights for all blocks: a block's own weight is in the same unit, so
    that 0.5 of 1 halves the expert there and leaves the others alone. A negative weight takes an
    expert away; the sum is of sizes, so that 1 and −0.9 amplify neither.

    Raises:
        ConfigError: a weight is too large or no number, or nothing is left.
    """
    blocks = {
        name: dict(given) if isinstance(given, Mapping) else {REST: given}
        for name, given in weights.items()
    }
    for name, own in sorted(blocks.items()):
        if REST not in own:
            raise ConfigError(f"merge.weights.{name}: lacks {REST!r}, the weight of other blocks")
        for block, weight in sorted(own.items()):
            key = f"merge.weights.{name}" + (f".{block}" if block != REST else "")
            if not abs(weight) <= LARGEST:
                raise ConfigError(f"{key}: must be from {-LARGEST:g} to {LARGEST:g}, got {weight}")
    if not math.isfinite(scale):
        raise ConfigError(f"merge.scale: must be finite, got {scale}")
    if scale == 0:
        raise ConfigError("merge.scale: is 0, so nothing is left to merge; 1 gives the mean")
    total = math.fsum(abs(own[REST]) for own in blocks.values())
    if total == 0:
        raise ConfigError(
            "merge.weights: all are 0, so nothing is left to merge; raise one of them"
        )
    return {
        name: {block: scale * weight / total for block, weight in own.items()}
        for name, own in blocks.items()
        if any(own.values())
    }


def any_negative(weights: Weights) -> bool:
    """Whether an expert is taken away, in a block at least."""
    every = (own.values() if isinstance(own, Mapping) else [own] for own in weights.values())
    return any(weight < 0 for own in every for weight in own)


def weight_at(blocks: Mapping[str, float], layer: str) -> float:
    """Look up a layer's weight: of the longest block that it lies in, else of the rest."""
    fitting = [block for block in blocks if f"{layer}.".startswith(f"{block}.")]
    return blocks[max(fitting, key=len, default=REST)]


def check_blocks(weights: Mapping[str, Mapping[str, float]], layers: Collection[str]) -> None:
    """See that each block that has a weight has layers; else ConfigError."""
    for name, blocks in sorted(weights.items()):
        for block in sorted(set(blocks) - {REST}):
            if not any(f"{layer}.".startswith(f"{block}.") for layer in layers):
                raise ConfigError(
                    f"merge.weights.{name}.{block}: no layer lies in this block; a block is the "
                    f"beginning of a layer's name, e.g. {min(layers).rpartition('.')[0]}"
                )
