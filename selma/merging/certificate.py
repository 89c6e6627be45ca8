"""Certifies a merge against its method's exact target, and measures how the experts relate."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import LoraFactors
from selma.adapters.measures import compare, inner_products

if TYPE_CHECKING:
    import torch


MEASURED = (
    "relative_error", "rank", "norm", "merged_norm", "cosine_to_mean", "cosine", "absent",
)  # fmt: skip
FINE = 1e-4  # of the experts' norms: below, differences of squares lose digits
ZERO = 1e-7  # of the experts' own norms: a target so small is what rounding leaves of nothing


@dataclass(frozen=True)
class LayerFacts:
    """What is measured of one merged layer; norms are Frobenius norms.

    `error` is the distance of what is written to the method's target ΔW, of norm `target`;
    `norm` is its own norm, `mean` that of Σ wₜ ΔWₜ, `overlap` the inner product of these two;
    `products` (N, N) are the experts' inner products, `absent` those without the layer.
    """

    rank: int
    error: float
    target: float
    norm: float
    mean: float
    overlap: float
    products: list[list[float]]
    absent: list[str]

    @property
    def relative_error(self) -> float:
        """Error / target, or the error itself where the target is zero."""
        return self.error / (self.target or 1.0)


def measure(
    factors: LoraFactors, target: "LoraFactors | torch.Tensor",
    experts: Sequence[LoraFactors], weights: Sequence[float], absent: list[str],
    summed: float | None = None,
) -> LayerFacts:  # fmt: skip
    """Measure a merged layer as it is written, in float64.

    `target` is the method's exact result; `weights` are the experts' absolute ones. If the target
    is Σ wₜ ΔWₜ times `summed`, an error above `FINE` follows from inner products, ‖a − b‖² =
    ‖a‖² − 2 ⟨a, b⟩ + ‖b‖², and nothing is multiplied out.
    """
    import torch

    products = inner_products([*experts, factors])  # (N + 1, N + 1)
    own, w = products[:-1, :-1], torch.tensor(weights, dtype=torch.float64).to(products.device)
    size = abs(summed or 0.0) * _root(float(w @ own @ w))
    crossed = (summed or 0.0) * float(w @ products[:-1, -1])
    error = _root(size**2 - 2 * crossed + float(products[-1, -1]))
    together = float(w.abs() @ own.diagonal().clamp(min=0).sqrt())  # Σ |wₜ| ‖ΔWₜ‖
    if summed is None or error <= FINE * abs(summed) * together:
        error, size = compare(target, factors)
    return LayerFacts(
        rank=factors.rank,
        error=error,
        target=size if size > ZERO * together else 0.0,
        norm=_root(float(products[-1, -1])),
        mean=_root(float(w @ own @ w)),
        overlap=float(w @ products[:-1, -1]),
        products=own.tolist(),
        absent=absent,
    )


def norm_ratio(layers: Iterable[LayerFacts]) -> float:
    """‖Σ wₜ ΔWₜ‖ / ‖merged‖ over all layers; 1 where the merge is zero."""
    layers = list(layers)
    norm = _whole(layer.norm for layer in layers)
    return _whole(layer.mean for layer in layers) / norm if norm else 1.0


def summarise(layers: Mapping[str, LayerFacts], names: Sequence[str]) -> dict[str, Any]:
    """Sum up a merge over all its layers.

    Returns:
        relative_error, two digits, against the method's target; rank, the largest of a layer; norm
        of the experts, merged_norm; cosine between experts, expert → expert, 0 where a norm is 0;
        cosine_to_mean, of the merge with Σ wₜ ΔWₜ; absent, how many layers an expert lacks.
    """
    facts = list(layers.values())
    total = [
        [math.fsum(layer.products[i][j] for layer in facts) for j in range(len(names))]
        for i in range(len(names))
    ]
    norms = {name: _root(total[i][i]) for i, name in enumerate(names)}
    merged, mean = (_whole(getattr(layer, key) for layer in facts) for key in ("norm", "mean"))

    def cosine(i: int, j: int) -> float:
        return _ratio(total[i][j], norms[names[i]] * norms[names[j]])

    target = _whole(layer.target for layer in facts)
    return {
        "relative_error": _short(_whole(layer.error for layer in facts) / (target or 1.0)),
        "rank": max(layer.rank for layer in facts),
        "norm": {name: round(norm, 4) for name, norm in norms.items()},
        "merged_norm": round(merged, 4),
        "cosine_to_mean": _ratio(math.fsum(layer.overlap for layer in facts), merged * mean),
        "cosine": {
            one: {other: cosine(i, j) for j, other in enumerate(names)}
            for i, one in enumerate(names)
        },
        "absent": {name: sum(name in layer.absent for layer in facts) for name in names},
    }


def headline(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """Take a certificate's numbers about the whole, what `summarise` says."""
    return {name: certificate[name] for name in MEASURED}


def by_layer(layers: Mapping[str, LayerFacts]) -> dict[str, dict[str, Any]]:
    """Tell of each layer its rank, relative error, norms and the experts that lack it."""
    return {
        name: {
            "rank": layer.rank, "relative_error": _short(layer.relative_error),
            "norm": round(layer.norm, 6), "mean_norm": round(layer.mean, 6),
            "absent": layer.absent,
        }
        for name, layer in sorted(layers.items())
    }  # fmt: skip


def _root(square: float) -> float:
    return math.sqrt(max(0.0, square))  # rounding may go below zero


def _whole(norms: Iterable[float]) -> float:
    return math.sqrt(math.fsum(norm * norm for norm in norms))


def _ratio(value: float, size: float) -> float:
    return round(value / size, 4) if size else 0.0


def _short(value: float) -> float:
    return float(f"{value:.1e}")
