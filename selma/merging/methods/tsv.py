"""TSV-M: the experts' first singular vectors side by side, made orthogonal."""

from typing import TYPE_CHECKING

from selma.adapters.factors import LoraFactors
from selma.adapters.linear_algebra import product, svd
from selma.merging.lowrank import factor_svd, numerical_rank
from selma.merging.methods.elementwise import Experts, Weights

if TYPE_CHECKING:
    import torch


def tsv(experts: Experts, weights: Weights) -> LoraFactors:
    """Merge so that ΔW = c · U⊥ diag(N uₜ sₜ) V⊥ᵀ, u = w / Σ w, c = Σ w.

    U and V hold each expert's min(out, in) / N first singular vectors; U⊥ and V⊥ are the nearest
    matrices with orthonormal columns (polar factor), of U's and V's own rank. c is the paper's α.
    Source: Task Singular Vectors, arXiv 2412.00081, section 3.3.
    """
    import torch

    names = sorted(experts)
    total, kept = sum(weights.values()), max(1, min(experts[names[0]].shape) // len(names))
    u, s, vt = [], [], []
    for name in names:
        found = factor_svd(experts[name])
        used = min(kept, numerical_rank(found.s))
        u.append(found.u[:, :used])
        s.append(len(names) * weights[name] / total * found.s[:used])
        vt.append(found.vt[:used])
    left, right = _polar(torch.cat(u, dim=1)), _polar(torch.cat(vt).T)
    return LoraFactors(right.T, left * torch.cat(s), total)


def _polar(columns: "torch.Tensor") -> "torch.Tensor":
    """P Qᵀ of the SVD P S Qᵀ, over what is not rounding: directions that coincide share one."""
    p, s, qt = svd(columns)
    used = numerical_rank(s)
    return product(p[:, :used], qt[:used])
