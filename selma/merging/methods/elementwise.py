"""What the methods that look at single entries share: dense updates, pruning, election of signs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from selma.adapters.factors import LoraFactors
from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed

if TYPE_CHECKING:
    import torch

Experts = Mapping[str, LoraFactors]
Weights = Mapping[str, float]  # absolute: scale · wₜ / Σ w


def check_density(density: float) -> float:
    """See that a share of entries to keep is in (0, 1]; else ConfigError."""
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density <= 1:
        raise ConfigError(f"merge.parameters.density: must be above 0, at most 1; got {density!r}")
    return float(density)


def prune(delta: "torch.Tensor", density: float) -> "torch.Tensor":
    """Keep the entries that are largest in size, that share of all of them; equal ones are kept."""
    import torch

    kept = max(1, round(density * delta.numel()))
    if kept == delta.numel():
        return delta
    sizes = delta.abs()
    least = sizes.flatten().kthvalue(delta.numel() - kept + 1).values
    return torch.where(sizes >= least, delta, 0.0)


def drop(delta: "torch.Tensor", density: float, seed: int, name: str) -> "torch.Tensor":
    """Keep each entry with a probability and divide it by that: DARE, arXiv 2311.03099, eq. 2."""
    import torch

    generator = torch.Generator().manual_seed(derive_seed(seed, "dare", name))
    uniform = torch.rand(delta.shape, generator=generator, dtype=torch.float64).to(delta.device)
    return torch.where(uniform < density, delta / density, 0.0)


def elected_mean(deltas: Sequence["torch.Tensor"], weights: Sequence[float]) -> "torch.Tensor":
    """Average each entry over the updates that have the sign of its weighted sum, TIES' mean.

    An update whose entry is 0 has no say. Σ w is the scale: of equal updates the mean is that
    update times Σ w.
    """
    import torch

    total = sum(w * delta for w, delta in zip(weights, deltas, strict=True))
    sign = torch.sign(torch.as_tensor(total))
    summed, agreeing = torch.zeros_like(sign), torch.zeros_like(sign)
    for weight, delta in zip(weights, deltas, strict=True):
        agrees = torch.sign(delta) * sign > 0
        summed += torch.where(agrees, weight * delta, 0.0)
        agreeing += weight * agrees
    return sum(weights) * (summed / agreeing).nan_to_num(0.0)  # 0/0 where none has a say
