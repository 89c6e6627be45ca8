"""Certifies a merged adapter against the dense weighted sum, and tells how experts relate."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

from selma.merging.lowrank import inner_product
from selma.merging.methods import Adapter


def relative_error(
    merged: Adapter, experts: Mapping[str, Adapter], merge_weights: Mapping[str, float]
) -> float:
    """Give ‖merged − Σ wₜ ΔWₜ‖ / ‖Σ wₜ ΔWₜ‖ (Frobenius, all layers), computed densely in float64.

    Where the weighted sum is zero (untrained experts, or such that cancel out), the absolute error.
    """
    error, size = 0.0, 0.0
    for layer, factors in merged.items():
        deltas = [merge_weights[skill] * experts[skill][layer].delta() for skill in sorted(experts)]
        dense = sum(deltas[1:], start=deltas[0])
        error += float((factors.delta() - dense).square().sum())
        size += float(dense.square().sum())
    return math.sqrt(error / (size or 1.0))


def adapter_product(left: Adapter, right: Adapter) -> float:
    """Give ⟨left, right⟩ summed over all layers."""
    return sum(inner_product(left[layer], right[layer]) for layer in sorted(left))


def adapter_norm(adapter: Adapter) -> float:
    """Give the Frobenius norm over all layers; rounding may put a square of zero below zero."""
    return math.sqrt(max(0.0, adapter_product(adapter, adapter)))


def certify(
    merged: Adapter, experts: Mapping[str, Adapter], merge_weights: Mapping[str, float]
) -> dict[str, Any]:
    """Measure a merge.

    Args:
        merged: as written and read back.
        experts: what it was made from.
        merge_weights: the absolute weights.

    Returns:
        relative_error: against the dense weighted sum, two digits.
        rank: the largest of a layer.
        norm, merged_norm: Frobenius norms of whole adapters.
        cosine: between whole adapters, expert → expert; 0 where a norm is 0.
    """
    norms = {skill: adapter_norm(expert) for skill, expert in experts.items()}
    cosine: dict[str, dict[str, float]] = {skill: {} for skill in experts}
    for left, right in itertools.product(sorted(experts), repeat=2):
        size = norms[left] * norms[right]
        product = adapter_product(experts[left], experts[right])
        cosine[left][right] = round(product / size, 4) if size else 0.0
    return {
        "relative_error": float(f"{relative_error(merged, experts, merge_weights):.1e}"),
        "rank": max(factors.rank for factors in merged.values()),
        "norm": {skill: round(norm, 4) for skill, norm in norms.items()},
        "merged_norm": round(adapter_norm(merged), 4),
        "cosine": cosine,
    }
