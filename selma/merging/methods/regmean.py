"""RegMean: the update whose outputs are nearest to the experts', for layers of one known input."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from selma.adapters.factors import LoraFactors
from selma.core.errors import ConfigError
from selma.merging.lowrank import weighted_sum

if TYPE_CHECKING:
    import torch

PIVOTS_MIN = 1e-7  # least to greatest pivot of a Cholesky factor: a condition of 1e14


def regmean(
    experts: Mapping[str, LoraFactors],
    merge_weights: Mapping[str, float],
    maps: Mapping[str, "torch.Tensor"],
) -> LoraFactors:
    """Merge one layer's experts so that Σₜ wₜ ‖Xₜ (ΔW − ΔWₜ)ᵀ‖² is least; Xₜ are a skill's inputs.

    That is ΔW = (Σₜ wₜ ΔWₜ Gₜ) (Σₜ wₜ Gₜ)⁻¹ with Gₜ = XₜᵀXₜ, of which the `maps` hold the right
    side of each summand, see `input_maps`; so it stays low-rank, Σ rₜ at most, each B being its
    expert's own. It does not depend on the weights' sum.

    Source: RegMean, arXiv 2212.09849, equation 2.
    """
    skills = sorted(experts)
    moved = [move_input(experts[skill], maps[skill]) for skill in skills]
    return weighted_sum(moved, [merge_weights[skill] for skill in skills])


def move_input(layer: LoraFactors, right: "torch.Tensor") -> LoraFactors:
    """Multiply ΔW (out, in) from the right by a matrix (in, in), float64."""
    return LoraFactors(layer.lora_a.double() @ right, layer.lora_b, layer.scale, layer.kernel)


def input_maps(
    grams: Mapping[str, "torch.Tensor"], merge_weights: Mapping[str, float], off_diagonals: float
) -> dict[str, "torch.Tensor"]:
    """Compute Gₜ (Σₜ wₜ Gₜ)⁻¹ for each skill, (in, in) float64; layers of one input share them.

    Args:
        grams: Gₜ = XₜᵀXₜ / rows of Xₜ, (in, in).
        merge_weights: wₜ, of the same skills.
        off_diagonals: what each Gₜ keeps off its diagonal, 1 for all (RegMean's α, section 3.3).

    Raises:
        ConfigError: the sum of the matrices has no inverse.
    """
    import torch

    shrunk = {skill: shrink(gram, off_diagonals) for skill, gram in grams.items()}
    total = sum(merge_weights[skill] * shrunk[skill] for skill in sorted(shrunk))
    assert isinstance(total, torch.Tensor)
    lower, failed = torch.linalg.cholesky_ex(total)
    pivots = lower.diagonal()
    if failed or not bool(pivots.min() > PIVOTS_MIN * pivots.max()):
        raise ConfigError(
            f"off_diagonals: the inputs do not span all {len(total)} of their dimensions, so that "
            f"{off_diagonals:g} leaves nothing to solve; lower it (0.9 is usual), or give more text"
        )
    return {skill: torch.cholesky_solve(gram, lower).T for skill, gram in shrunk.items()}


def shrink(gram: "torch.Tensor", off_diagonals: float) -> "torch.Tensor":
    """Compute a · G + (1 − a) · diag(G), in float64."""
    import torch

    gram = gram.double()
    return torch.lerp(gram.diagonal().diag(), gram, off_diagonals)


def output_error(layer: LoraFactors, other: LoraFactors, gram: "torch.Tensor") -> float:
    """Compute ‖X (ΔW₁ − ΔW₂)ᵀ‖² = tr(D G Dᵀ) with D = ΔW₁ − ΔW₂ and G = XᵀX."""
    difference = weighted_sum([layer, other], [1.0, -1.0])
    lora_a, lora_b = difference.lora_a.double(), difference.lora_b.double()
    inner = lora_a @ gram.double() @ lora_a.T  # (r, r)
    return float(((lora_b.T @ lora_b) * inner).sum())
