"""Sums, singular values and inner products of low-rank updates, without a dense matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selma.merging.factors import LoraFactors

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LowRankSvd:
    """ΔW = U diag(s) Vᵀ with s falling; float64."""

    u: "torch.Tensor"  # (out, k)
    s: "torch.Tensor"  # (k,)
    vt: "torch.Tensor"  # (k, in)

    def truncate(self, rank: int) -> tuple[LoraFactors, float]:
        """Find the best update of at most a rank (Eckart–Young) and its Frobenius distance to ΔW.

        The singular values are shared evenly between the factors, which are float32, scale 1.
        """
        root = self.s[:rank].sqrt()
        factors = LoraFactors(
            lora_a=(root[:, None] * self.vt[:rank]).float(),  # (rank, in)
            lora_b=(self.u[:, :rank] * root).float(),  # (out, rank)
        )
        return factors, float(self.s[rank:].square().sum().sqrt())


def weighted_sum(layers: Sequence[LoraFactors], weights: Sequence[float]) -> LoraFactors:
    """Sum Σ wᵢ · ΔWᵢ of equal shape exactly, by concatenation; wᵢ · scaleᵢ goes into B.

    The rank is Σ rᵢ and the scale is 1.
    """
    import torch

    pairs = list(zip(layers, weights, strict=True))
    scaled = [(weight * layer.scale * layer.lora_b.double()).float() for layer, weight in pairs]
    return LoraFactors(
        lora_a=torch.cat([layer.lora_a.float() for layer in layers]),  # (Σ r, in)
        lora_b=torch.cat(scaled, dim=1),  # (out, Σ r)
    )


def factor_svd(layer: LoraFactors) -> LowRankSvd:
    """Decompose an update by two thin QRs and the SVD of a small core.

    B = Q_B R_B, Aᵀ = Q_A R_A, core R_B R_Aᵀ = U S Vᵀ; then ΔW = (Q_B U) S (Q_A V)ᵀ is its SVD,
    because Q_B U and Q_A V have orthonormal columns. O((out + in) r² + r³) instead of
    O(out · in · min(out, in)). The sign of each pair of vectors is fixed: the entry of U that is
    largest in size is positive.
    """
    import torch

    q_b, r_b = torch.linalg.qr(layer.scale * layer.lora_b.double())  # (out, k), (k, r)
    q_a, r_a = torch.linalg.qr(layer.lora_a.double().T)  # (in, l), (l, r)
    u_core, s, vt_core = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    u, vt = q_b @ u_core, vt_core @ q_a.T  # (out, min(k, l)), (min(k, l), in)
    largest = u.abs().argmax(dim=0, keepdim=True)
    sign = torch.where(u.gather(0, largest) < 0, -1.0, 1.0).double()  # (1, min(k, l))
    return LowRankSvd(u * sign, s, vt * sign.T)


def compact(layer: LoraFactors) -> LoraFactors:
    """Write the same update with a rank of at most min(out, in); unchanged if it is so already."""
    limit = min(layer.shape)
    return layer if layer.rank <= limit else factor_svd(layer).truncate(limit)[0]


def inner_product(left: LoraFactors, right: LoraFactors) -> float:
    """Compute ⟨ΔW₁, ΔW₂⟩ = tr((B₁ᵀ B₂)(A₂ A₁ᵀ)) · scale₁ · scale₂ in O((out + in) r₁ r₂)."""
    b = left.lora_b.double().T @ right.lora_b.double()  # (r₁, r₂)
    a = left.lora_a.double() @ right.lora_a.double().T  # (r₁, r₂)
    return left.scale * right.scale * float((a * b).sum())
