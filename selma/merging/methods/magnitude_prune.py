"""A weighted sum of updates without their small entries."""

from typing import TYPE_CHECKING

from selma.merging.methods.elementwise import Experts, Weights, check_density, prune

if TYPE_CHECKING:
    import torch


def magnitude_prune(experts: Experts, weights: Weights, *, density: float) -> "torch.Tensor":
    """Merge so that ΔW = Σ wₜ prune(ΔWₜ): of each, the share `density` of largest entries is kept.

    The updates of a layer are pruned, not their factors; nothing is rescaled. (peft's
    "magnitude_prune_svd".)
    """
    kept = check_density(density)
    deltas = {name: prune(experts[name].delta(), kept) for name in sorted(experts)}
    return sum(weights[name] * delta for name, delta in deltas.items())  # type: ignore[return-value]
