"""TIES: trim, elect signs, and average what agrees."""

from typing import TYPE_CHECKING

from selma.merging.methods.elementwise import (
    Experts,
    Weights,
    check_density,
    drop,
    elected_mean,
    prune,
)

if TYPE_CHECKING:
    import torch


def ties(experts: Experts, weights: Weights, *, density: float) -> "torch.Tensor":
    """Merge so that ΔW = c · mean of the pruned ΔWₜ that have the elected sign, entry by entry.

    Departs from TIES-Merging (arXiv 2306.01708, algorithm 1):
    1. entries are trimmed within each layer's update, not over the whole network;
    2. weights count in the election and in the mean, and c = Σ w is the paper's λ.
    """
    kept, names = check_density(density), sorted(experts)
    deltas = [prune(experts[name].delta(), kept) for name in names]
    return elected_mean(deltas, [weights[name] for name in names])


def dare_ties(experts: Experts, weights: Weights, *, density: float, seed: int) -> "torch.Tensor":
    """Merge so that ΔW = c · mean of the mₜ ⊙ ΔWₜ / density that have the elected sign.

    `ties` with entries dropped by chance and made up for, as in `dare`, instead of trimmed.
    Source: DARE, arXiv 2311.03099, section 4.
    """
    kept, names = check_density(density), sorted(experts)
    deltas = [drop(experts[name].delta(), kept, seed, name) for name in names]
    return elected_mean(deltas, [weights[name] for name in names])
