"""The one engine of every merge: sums, singular values and inner products in rank space."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from selma.adapters.factors import LoraFactors
from selma.adapters.linear_algebra import Tall, product, svd

if TYPE_CHECKING:
    import torch

NOISE = 1e-12  # a float64 singular value so much smaller than the first is rounding


@dataclass(frozen=True)
class LowRankSvd:
    """ΔW = U diag(s) Vᵀ with s falling; s is whole, U and V as long as was asked for."""

    u: "torch.Tensor"  # (out, k)
    s: "torch.Tensor"  # (q,), q ≥ k
    vt: "torch.Tensor"  # (k, in)

    def truncate(self, rank: int) -> LoraFactors:
        """Find the best update of at most a rank (Eckart–Young); it is off by `tail`.

        The singular values are shared evenly between the factors; their scale is 1.
        """
        root = self.s[:rank].double().sqrt()
        return LoraFactors(
            lora_a=root[:, None] * self.vt[:rank],  # (rank, in)
            lora_b=self.u[:, :rank] * root,  # (out, rank)
        )


def tail(s: "torch.Tensor", rank: int) -> float:
    """The norm of what is lost beyond a rank: √Σ s² of the singular values after it."""
    return float(s[rank:].double().square().sum().sqrt())


def least_rank(s: "torch.Tensor", error_max: float) -> int:
    """Find the least rank, 1 at least, whose `tail` is at most a share of the whole norm."""
    limit = error_max * tail(s, 0)
    return next(rank for rank in range(1, len(s) + 1) if rank == len(s) or tail(s, rank) <= limit)


def weighted_sum(layers: Sequence[LoraFactors], weights: Sequence[float]) -> LoraFactors:
    """Sum Σ wᵢ · ΔWᵢ of equal shape by concatenation, in float64; wᵢ · scaleᵢ goes into B.

    The rank is Σ rᵢ of those that are not zero, and the scale is 1.
    """
    import torch

    pairs = list(zip(layers, weights, strict=True))
    summands = [(one, w) for one, w in pairs if w and bool(one.lora_b.any())] or pairs[:1]
    scaled = [weight * one.scale * one.lora_b.double() for one, weight in summands]
    return LoraFactors(
        lora_a=torch.cat([one.lora_a.double() for one, _ in summands]),  # (Σ r, in)
        lora_b=torch.cat(scaled, dim=1),  # (out, Σ r)
        kernel=layers[0].kernel,
    )


def factor_svd(
    update: "LoraFactors | torch.Tensor", vectors: int | None = None, dtype: str = "float64"
) -> LowRankSvd:
    """Decompose an update, dense or in factors; `vectors`: of so many singular values (None: all).

    Factors: B = Q_B R_B, Aᵀ = Q_A R_A, core R_B R_Aᵀ = U S Vᵀ; then ΔW = (Q_B U) S (Q_A V)ᵀ is its
    SVD, because Q_B U and Q_A V have orthonormal columns. O((out + in) r² + r³) instead of
    O(out · in · min(out, in)). A side that is no longer than r gains nothing by it and stays as it
    is; if both are so, this is the dense SVD. The sign of each pair of vectors is fixed: the entry
    of U that is largest in size is positive.
    """
    import torch

    kind = getattr(torch, dtype)
    if isinstance(update, torch.Tensor):
        u, s, vt = svd(update.to(kind))
        u, vt = u[:, :vectors], vt[:vectors]
    else:
        b = update.lora_b.to(kind) * update.scale  # (out, r)
        a = update.lora_a.to(kind).T  # (in, r)
        left, right = Tall(b), Tall(a)
        u, s, vt = svd(product(left.core, right.core.T))
        u = left.times(u[:, :vectors])  # (out, k)
        vt = right.times(vt[:vectors].T).T  # (k, in)
    u, vt = fix_signs(u, vt)
    return LowRankSvd(u, s, vt)


def joint_svd(
    layers: Sequence[LoraFactors],
) -> "tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]":
    """Decompose [ΔW₁ … ΔW_N] = U S [V₁ᵀ … V_Nᵀ]: the SVD of R_B blkdiag(R_A₁ᵀ …), in rank space.

    Returns:
        U (out, k), S (k,) and each Vₜᵀ (k, in), float64; k is the rank of all together. The sign of
        a pair of vectors is fixed as in `factor_svd`.
    """
    import torch

    b = torch.cat([one.scale * one.lora_b.double() for one in layers], dim=1)  # (out, R)
    left, cores = Tall(b), [Tall(one.lora_a.double().T) for one in layers]
    u, s, vt = svd(product(left.core, torch.block_diag(*(c.core.T for c in cores))))  # type: ignore[no-untyped-call]
    used = numerical_rank(s)
    u, vt = fix_signs(left.times(u[:, :used]), vt[:used])
    split = torch.split(vt, [len(one.core) for one in cores], dim=1)
    return u, s[:used], [one.times(part.T).T for one, part in zip(cores, split, strict=True)]


def fix_signs(u: "torch.Tensor", vt: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Turn each pair of vectors, U (m, k) and Vᵀ (k, n), so that U's largest entry is positive."""
    import torch

    largest = u.abs().argmax(dim=0, keepdim=True)
    sign = torch.where(u.gather(0, largest) < 0, -1.0, 1.0).to(u.dtype)  # (1, k)
    return u * sign, vt * sign.T


def numerical_rank(s: "torch.Tensor") -> int:
    """Count the singular values, float64 and falling, that are more than rounding; 1 at least."""
    return max(1, int((s > NOISE * s[0]).sum()))


def compact(layer: LoraFactors) -> LoraFactors:
    """Write the same update with a rank of at most min(out, in); unchanged if it is so already."""
    limit = min(layer.shape)
    if layer.rank <= limit:
        return layer
    return replace(factor_svd(layer).truncate(limit), kernel=layer.kernel)


def times(update: "LoraFactors | torch.Tensor", columns: "torch.Tensor") -> "torch.Tensor":
    """Multiply an update with columns (in, k), in float64; (out, k)."""
    import torch

    if isinstance(update, torch.Tensor):
        return product(update.double(), columns.double())
    inner = product(update.lora_a.double(), columns.double())
    return update.scale * product(update.lora_b.double(), inner)
