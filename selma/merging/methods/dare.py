"""DARE: a weighted sum of updates of which entries are dropped by chance."""

from typing import TYPE_CHECKING

from selma.merging.methods.elementwise import Experts, Weights, check_density, drop

if TYPE_CHECKING:
    import torch


def dare(experts: Experts, weights: Weights, *, density: float, seed: int) -> "torch.Tensor":
    """Merge so that ΔW = Σ wₜ mₜ ⊙ ΔWₜ / density: entries are kept by chance, and made up for.

    Unbiased: its mean over seeds is Σ wₜ ΔWₜ. Source: DARE, arXiv 2311.03099.
    """
    kept = check_density(density)
    deltas = {name: drop(experts[name].delta(), kept, seed, name) for name in sorted(experts)}
    return sum(weights[name] * delta for name, delta in deltas.items())  # type: ignore[return-value]
