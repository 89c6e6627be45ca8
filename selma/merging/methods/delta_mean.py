"""The weighted sum of the updates, exactly; with weights that add up to 1, their mean."""

from selma.adapters.factors import LoraFactors
from selma.merging.lowrank import weighted_sum
from selma.merging.methods.elementwise import Experts, Weights


def delta_mean(experts: Experts, weights: Weights) -> LoraFactors:
    """Merge so that ΔW = Σ wₜ ΔWₜ, exactly, in the least rank that always can: min(Σ rₜ, out, in).

    Source: SELMA, arXiv 2403.06952, section 3.4. (peft's combination type "linear" is another
    formula, see `peft_linear`.)
    """
    return _stacked(experts, weights)


def concat(experts: Experts, weights: Weights) -> LoraFactors:
    """Merge so that ΔW = Σ wₜ ΔWₜ by stacking the factors, rank Σ rₜ: no decomposition rounds.

    peft's "cat".
    """
    return _stacked(experts, weights)


def svd(experts: Experts, weights: Weights) -> LoraFactors:
    """Merge so that ΔW = Σ wₜ ΔWₜ and keep its best approximation: needs `rank` or `error_max`.

    What is lost are the discarded singular values (Eckart–Young). peft's "svd".
    """
    return _stacked(experts, weights)


def _stacked(experts: Experts, weights: Weights) -> LoraFactors:
    names = sorted(experts)
    return weighted_sum([experts[name] for name in names], [weights[name] for name in names])
