"""The one act that merges whole adapters, in memory."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import Adapter, LoraFactors
from selma.adapters.linear_algebra import one_thread_a_call, product
from selma.core.choices import choose_name
from selma.core.errors import AdapterMismatchError, ConfigError
from selma.core.seeds import derive_seed
from selma.core.threads import in_threads
from selma.merging.certificate import LayerFacts, measure, norm_ratio
from selma.merging.lowrank import LowRankSvd, factor_svd, least_rank, numerical_rank, tail, times
from selma.merging.methods.catalogue import SUMS, check_method, layer_merger
from selma.merging.weights import Weights, absolute_weights, any_negative, check_blocks, weight_at

if TYPE_CHECKING:
    import torch

ROUNDING = 1e-6  # of a layer's norm: what float32 may be off by
PRECISION = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 1e-2}  # what written factors may lose
PLAIN_SUMS = ("delta_mean", "concat", "svd")  # whose target is Σ wₜ ΔWₜ
PROBES = 8
LIMITS = {  # as in a row of `merges`
    "scale": (-1000, 1000), "rank": (1, 100_000), "seed": (0, 2**63 - 1),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How experts are merged; what a row of `merges` says, and the seed.

    `rank` and `error_max` (a share of each layer's norm) bound what is kept, at most one of them;
    None keeps the method's exact result. `match_norm` rescales the whole adapter to the norm of
    Σ wₜ ΔWₜ, so that methods are compared at the same strength. `dtype` is of the factors. A scale
    below 0 gives the negative of the merge at its size.
    """

    method: str
    weights: Weights
    scale: float
    rank: int | None
    error_max: float | None
    match_norm: bool
    parameters: Mapping[str, Any]
    dtype: str
    seed: int


@dataclass(frozen=True)
class Merged:
    """A merged adapter, and what was measured of each layer on the way."""

    adapter: dict[str, LoraFactors]
    layers: dict[str, LayerFacts]
    names: list[str]  # of the experts that have a weight, sorted


def check_settings(settings: Settings) -> None:
    """See that settings make sense before any file is read; ConfigError if not."""
    check_method(settings.method, settings.parameters)
    absolute_weights(settings.weights, settings.scale)
    for name, (low, high) in LIMITS.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise ConfigError(f"merge.{name}: must be from {low} to {high}, got {value}")
    least = 2 * PRECISION[choose_name("dtype", settings.dtype, PRECISION)]
    if settings.error_max is not None and not least <= settings.error_max < 1:
        raise ConfigError(
            f"merge.error_max: must be below 1 and, for {settings.dtype}, at least {least:g}; got "
            f"{settings.error_max}"
        )
    if any_negative(settings.weights) and settings.method not in SUMS:
        raise ConfigError(
            f"merge.weights: {settings.method} takes none below 0; the sums do: {', '.join(SUMS)}"
        )
    bounded = (settings.rank is not None) + (settings.error_max is not None)
    if bounded > 1 or (settings.method == "svd" and not bounded):
        expected = "one of them" if settings.method == "svd" else "one of them at most"
        raise ConfigError(
            f"merge.rank and merge.error_max: expected {expected}, got {settings.rank} and "
            f"{settings.error_max}"
        )
    if settings.method == "concat" and bounded:
        raise ConfigError("merge.method: concat keeps every rank; with a bound choose svd")


def merge(experts: Mapping[str, Adapter], settings: Settings, device: str = "cpu") -> Merged:
    """Merge whole adapters layer by layer; a layer that an expert lacks counts as zero there.

    Layers are independent: on a CPU as many as there are processors are merged at once, each by one
    thread, so that the bytes do not depend on their number.

    Raises:
        ConfigError: the settings are wrong, or a weight names no expert.
        AdapterMismatchError: experts differ in a layer's shape, or their update is not finite.
    """
    check_settings(settings)
    used = absolute_weights(settings.weights, 1.0)
    without_expert = sorted(set(used) - set(experts))
    if without_expert:
        raise ConfigError(
            f"merge.weights: no expert was given for {', '.join(without_expert)}; give its file, "
            "or leave it out of the weights"
        )
    chosen = {name: experts[name] for name in sorted(used)}
    layers = sorted({layer for expert in chosen.values() for layer in expert})
    check_blocks(used, layers)

    def all_layers(ratio: float) -> Merged:
        with one_thread_a_call():
            number = 1 if device != "cpu" else len(os.sched_getaffinity(0))
            results = in_threads(
                lambda layer: _merge_layer(layer, chosen, used, settings, ratio, device),
                layers,
                number,
            )
        both = dict(zip(layers, results, strict=True))
        adapter = {layer: factors for layer, (factors, _) in both.items()}
        return Merged(adapter, {layer: own for layer, (_, own) in both.items()}, sorted(used))

    merged = all_layers(1.0)
    return all_layers(norm_ratio(merged.layers.values())) if settings.match_norm else merged


def _merge_layer(
    layer: str, experts: Mapping[str, Adapter], used: Mapping[str, Mapping[str, float]],
    settings: Settings, ratio: float, device: str,
) -> tuple[LoraFactors, LayerFacts]:  # fmt: skip
    """Merge a layer, times a ratio, and measure what will be written."""
    own = _experts_of(layer, experts, device)
    weights = {name: abs(settings.scale) * weight_at(used[name], layer) for name in own}
    target: LoraFactors | torch.Tensor = _zero(own)
    if any(weights.values()):
        merge_layer = layer_merger(settings.method, settings.parameters)
        target = merge_layer(own, weights, derive_seed(settings.seed, layer))
    sign = math.copysign(1.0, settings.scale)
    target = _times(target, sign * ratio)
    factors = _reduced(layer, target, settings)
    absent = [name for name, expert in experts.items() if layer not in expert]
    absolute = [sign * weight for weight in weights.values()]
    summed = ratio if settings.method in PLAIN_SUMS and any(weights.values()) else None
    facts = measure(factors, target, list(own.values()), absolute, absent, summed)
    return replace(factors.to("cpu"), kernel=next(iter(own.values())).kernel), facts


def _zero(experts: Mapping[str, LoraFactors]) -> LoraFactors:
    import torch

    out, inside = next(iter(experts.values())).shape
    return LoraFactors(torch.zeros(1, inside), torch.zeros(out, 1))


def _times(target: "LoraFactors | torch.Tensor", ratio: float) -> "LoraFactors | torch.Tensor":
    if isinstance(target, LoraFactors):
        return replace(target, scale=ratio * target.scale)
    return ratio * target


def _experts_of(layer: str, experts: Mapping[str, Adapter], device: str) -> dict[str, LoraFactors]:
    """A layer of all experts in float32, zero where one has none; all of one shape."""
    import torch

    found = {name: expert[layer] for name, expert in experts.items() if layer in expert}
    first = next(iter(found))
    for name, factors in found.items():
        if factors.weight_shape != found[first].weight_shape:
            raise AdapterMismatchError(
                f"{layer}: update is {factors.weight_shape} in expert {name!r}, "
                f"{found[first].weight_shape} in {first!r}; train both on one base model"
            )
    (out, inside), rank = found[first].shape, found[first].rank
    zero = replace(
        found[first], lora_a=torch.zeros(rank, inside), lora_b=torch.zeros(out, rank), scale=1.0
    )
    given = {name: found.get(name, zero) for name in experts}
    return {name: one.to(device, torch.float32) for name, one in given.items()}


def _reduced(layer: str, target: "LoraFactors | torch.Tensor", settings: Settings) -> LoraFactors:
    """Bring a method's result to factors of the rank and type that are wanted, scale 1."""
    import torch

    kept = [target.lora_a, target.lora_b] if isinstance(target, LoraFactors) else [target]
    finite = all(bool(part.isfinite().all()) for part in kept)
    factors = _truncated(target, settings).cast(getattr(torch, settings.dtype)) if finite else None
    if factors is None or not (factors.lora_a.isfinite().all() and factors.lora_b.isfinite().all()):
        raise AdapterMismatchError(
            f"{layer}: the merged update is not finite in {settings.dtype}; the experts' numbers, "
            "the weights or the scale are too large"
        )
    return factors


def _truncated(target: "LoraFactors | torch.Tensor", settings: Settings) -> LoraFactors:
    """Keep the rank that is wanted, in float32 unless that loses more than rounding.

    Of true singular vectors ΔW V = U S; where experts nearly cancel out, float32 finds others.
    Exact results take the least rank that always can, but for `concat`.
    """
    rank, share = settings.rank, settings.error_max
    if isinstance(target, LoraFactors) and share is None:
        stacked = settings.method == "concat"
        enough = rank if rank is not None else target.rank if stacked else min(target.shape)
        if target.rank <= enough:
            return target
    exact = rank is None and share is None
    for dtype in ("float64",) if exact else ("float32", "float64"):
        found = factor_svd(target, rank, dtype)
        if _residual(target, found) <= ROUNDING * tail(found.s, 0):
            break
    if share is not None:
        return found.truncate(least_rank(found.s, share - PRECISION[settings.dtype]))
    return found.truncate(numerical_rank(found.s) if rank is None else rank)


def _residual(target: "LoraFactors | torch.Tensor", found: LowRankSvd) -> float:
    """Estimate ‖ΔW V − U S‖ (Frobenius) from a few random combinations of V's columns."""
    import torch

    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(len(found.vt), PROBES, generator=generator, dtype=torch.float64)
    mix = mix.to(found.vt.device)
    kept = found.s[: len(found.vt), None].double()
    wanted = product(found.u.double(), kept * mix)
    off = times(target, product(found.vt.T.double(), mix)) - wanted
    return float(off.norm()) / math.sqrt(PROBES)
