"""Means of the factors instead of the updates: what other tools compute, under its own name.

Their results depend on how an update is split into factors, not on the update alone.
"""

from selma.adapters.factors import LoraFactors
from selma.core.errors import AdapterMismatchError
from selma.merging.methods.elementwise import Experts, Weights


def factor_mean(experts: Experts, weights: Weights) -> LoraFactors:
    """Merge so that ΔW = c · (Σ uₜ √sₜ Bₜ)(Σ uₜ √sₜ Aₜ), u = w / Σ w, c = Σ w; of equal ranks.

    Averages A and B apart, as many scripts do: (1/N²) Σᵢⱼ Bᵢ Aⱼ, right for factors that are
    aligned (the same first A) and N times too small for unrelated ones.
    """
    names = _of_equal_rank(experts)
    total = sum(weights[name] for name in names)
    parts = [(weights[n] / total * experts[n].scale ** 0.5, experts[n]) for n in names]
    a = sum(factor * one.lora_a.double() for factor, one in parts)
    b = sum(factor * one.lora_b.double() for factor, one in parts)
    return LoraFactors(a, b, total)


def peft_linear(experts: Experts, weights: Weights) -> LoraFactors:
    """Merge so that ΔW = (Σ √(wₜ sₜ) Bₜ)(Σ √(wₜ sₜ) Aₜ), as peft's "linear" does; of equal ranks.

    Σ wₜ ΔWₜ plus the cross terms √(wᵢ wⱼ sᵢ sⱼ) Bᵢ Aⱼ: N copies at weight 1/N give N times the
    expert. To reproduce others' results (peft 0.21, `add_weighted_adapter`).
    """
    names = _of_equal_rank(experts)
    parts = [((weights[n] * experts[n].scale) ** 0.5, experts[n]) for n in names]
    a = sum(factor * one.lora_a.double() for factor, one in parts)
    b = sum(factor * one.lora_b.double() for factor, one in parts)
    return LoraFactors(a, b)


def _of_equal_rank(experts: Experts) -> list[str]:
    names = sorted(experts)
    ranks = {name: experts[name].rank for name in names}
    if len(set(ranks.values())) > 1:
        found = ", ".join(f"{name} {rank}" for name, rank in ranks.items())
        raise AdapterMismatchError(
            f"factors can be averaged at equal ranks alone, got {found}; choose another method"
        )
    if negative := [name for name in names if experts[name].scale < 0]:
        raise AdapterMismatchError(f"expert {negative[0]!r} has a negative alpha")
    return names
