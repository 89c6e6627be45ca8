"""KnOTS: TIES in the singular basis that the experts share."""

from selma.adapters.factors import LoraFactors
from selma.merging.lowrank import joint_svd
from selma.merging.methods.elementwise import (
    Experts,
    Weights,
    check_density,
    elected_mean,
    prune,
)


def knots(experts: Experts, weights: Weights, *, density: float) -> LoraFactors:
    """Merge so that ΔW = U S · ties(V₁ᵀ … V_Nᵀ), U S [V₁ᵀ … V_Nᵀ] the SVD of [ΔW₁ … ΔW_N].

    In the basis U the experts' entries mean the same, so that their signs can be compared. The SVD
    is of R_B blkdiag(R_Aₜᵀ), in rank space; the same values. `density` and weights as in `ties`.
    Source: KnOTS, arXiv 2410.19735, section 4.
    """
    kept, names = check_density(density), sorted(experts)
    u, s, parts = joint_svd([experts[name] for name in names])
    merged = elected_mean([prune(part, kept) for part in parts], [weights[name] for name in names])
    return LoraFactors(merged, u * s)
