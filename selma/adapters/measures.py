"""Norms, distances and inner products of low-rank updates."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from selma.adapters.factors import LoraFactors
from selma.adapters.linear_algebra import Tall, product

if TYPE_CHECKING:
    import torch

DENSE = 0.25  # of the smaller side: from ranks so large on dense products are cheaper


def compare(update: "LoraFactors | torch.Tensor", other: LoraFactors) -> tuple[float, float]:
    """Compute ‖ΔW₁ − ΔW₂‖ and ‖ΔW₁‖ (Frobenius), in float64.

    Of thin factors it is ‖R_B R_Aᵀ‖, R_B and R_A of the QRs of [B₁ −B₂] and [A₁; A₂]ᵀ: as exact as
    the dense difference, and nothing is multiplied out. From `DENSE` of the smaller side on, dense
    products are cheaper.
    """
    import torch

    if isinstance(update, torch.Tensor):
        return float(other.delta().sub_(update).norm()), float(update.double().norm())
    if update.rank + other.rank > DENSE * min(update.shape):
        return compare(update.delta(), other)
    scaled = (update.scale * update.lora_b.double(), -other.scale * other.lora_b.double())
    b = Tall(torch.cat(scaled, dim=1)).core  # (c, c), c both ranks together
    a = Tall(torch.cat([update.lora_a.double(), other.lora_a.double()]).T).core  # (c, c)
    first = product(b[:, : update.rank], a[:, : update.rank].T)
    return float(product(b, a.T).norm()), float(first.norm())


def distance(left: "LoraFactors | torch.Tensor", right: LoraFactors) -> float:
    """Compute ‖ΔW₁ − ΔW₂‖ (Frobenius), see `compare`."""
    return compare(left, right)[0]


def norm(update: "LoraFactors | torch.Tensor") -> float:
    """Compute ‖ΔW‖ (Frobenius)."""
    import torch

    if isinstance(update, torch.Tensor):
        return float(update.double().norm())
    return math.sqrt(max(0.0, float(inner_products([update]))))  # rounding may go below zero


def inner_products(layers: Sequence[LoraFactors]) -> "torch.Tensor":
    """Compute ⟨ΔWᵢ, ΔWⱼ⟩ = tr((Bᵢᵀ Bⱼ)(Aⱼ Aᵢᵀ)) · scaleᵢ · scaleⱼ of N updates, (N, N) float64.

    Two products of all factors together, O((out + in) (Σ r)²).
    """
    import torch

    b = torch.cat([layer.scale * layer.lora_b.double() for layer in layers], dim=1)  # (out, Σ r)
    a = torch.cat([layer.lora_a.double() for layer in layers])  # (Σ r, in)
    both = product(b.T, b) * product(a, a.T)  # (Σ r, Σ r)
    ranks = [layer.rank for layer in layers]
    rows = torch.stack([part.sum(0) for part in torch.split(both, ranks)])  # (N, Σ r)
    return torch.stack([part.sum(1) for part in torch.split(rows, ranks, dim=1)], dim=1)
