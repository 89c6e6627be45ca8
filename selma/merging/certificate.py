"""Certifies a merged adapter against the dense weighted sum, and measures how experts relate."""

import math
from collections.abc import Mapping
from typing import Any

from selma.merging.factors import Adapter
from selma.merging.lowrank import inner_product


def relative_error(
    merged: Adapter, experts: Mapping[str, Adapter], merge_weights: Mapping[str, float]
) -> float:
    """Compute ‖merged − Σ wₜ ΔWₜ‖ / ‖Σ wₜ ΔWₜ‖ (Frobenius, all layers), densely in float64.

    Where the weighted sum is zero (untrained experts, or such that cancel out), the absolute error.
    """
    error, size = 0.0, 0.0
    for layer, factors in merged.items():
        first, *others = (merge_weights[s] * experts[s][layer].delta() for s in sorted(experts))
        dense = sum(others, start=first)
        error += float((factors.delta() - dense).square().sum())
        size += float(dense.square().sum())
    return math.sqrt(error / (size or 1.0))


def adapter_product(left: Adapter, right: Adapter) -> float:
    """Compute ⟨left, right⟩ summed over all layers."""
    return sum(inner_product(left[layer], right[layer]) for layer in sorted(left))


def _norm(adapter: Adapter) -> float:
    return math.sqrt(max(0.0, adapter_product(adapter, adapter)))  # rounding may go below zero


def certify(
    merged: Adapter, experts: Mapping[str, Adapter], merge_weights: Mapping[str, float]
) -> dict[str, Any]:
    """Measure a merge, as written and read back, of experts with their absolute weights.

    Returns:
        relative_error, two digits; rank, the largest of a layer; norm and merged_norm, Frobenius,
        of whole adapters; cosine between them, expert → expert, 0 where a norm is 0.
    """
    norms = {skill: _norm(expert) for skill, expert in experts.items()}

    def cosine(left: str, right: str) -> float:
        size = norms[left] * norms[right]
        return round(adapter_product(experts[left], experts[right]) / size, 4) if size else 0.0

    return {
        "relative_error": float(f"{relative_error(merged, experts, merge_weights):.1e}"),
        "rank": max(factors.rank for factors in merged.values()),
        "norm": {skill: round(norm, 4) for skill, norm in norms.items()},
        "merged_norm": round(_norm(merged), 4),
        "cosine": {left: {right: cosine(left, right) for right in experts} for left in experts},
    }
