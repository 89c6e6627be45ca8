"""Iso-C in rank space: all directions of the sum get the same strength."""

from selma.adapters.factors import LoraFactors
from selma.merging.lowrank import factor_svd, numerical_rank
from selma.merging.methods.delta_mean import concat
from selma.merging.methods.elementwise import Experts, Weights


def iso_core(experts: Experts, weights: Weights) -> LoraFactors:
    """Merge so that ΔW = s̄ · U Vᵀ, U S Vᵀ the SVD of Σ wₜ ΔWₜ and s̄ the mean of its values.

    Departs from Isotropic Merging (arXiv 2502.04959, equation 6): only the values that are not 0
    count and are levelled. A sum of LoRAs has no full rank, and the paper's mean over all
    min(out, in) would put most of the norm into arbitrary directions.
    """
    found = factor_svd(concat(experts, weights))
    used = numerical_rank(found.s)
    level = float(found.s[:used].mean())
    return LoraFactors(found.vt[:used], found.u[:, :used], level)
