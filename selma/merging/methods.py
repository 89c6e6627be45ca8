"""Merge methods, named by their formula, and the one act that merges whole adapters."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import AdapterMismatchError, ConfigError, SelmaError
from selma.merging.certificate import certify
from selma.merging.factors import Adapter, LoraFactors
from selma.merging.files import read_adapter, read_provenance, write_adapter
from selma.merging.lowrank import compact, weighted_sum

MergeLayer = Callable[[Mapping[str, LoraFactors], Mapping[str, float]], LoraFactors]


def delta_mean(
    experts: Mapping[str, LoraFactors], merge_weights: Mapping[str, float]
) -> LoraFactors:
    """Merge one layer's experts so that ΔW = Σₜ wₜ · scaleₜ · Bₜ Aₜ, exactly.

    Experts and weights are per skill, the experts of one shape, the weights used as given;
    `absolute_weights` makes them a mean. The rank grows to min(Σ rₜ, out, in).

    Source: SELMA, arXiv 2403.06952, section 3.4. (peft's combination type "linear" is another
    formula: it has cross terms Bᵢ Aⱼ and depends on how ΔW is split into factors.)
    """
    skills = sorted(experts)
    return compact(weighted_sum([experts[s] for s in skills], [merge_weights[s] for s in skills]))


MERGE_METHODS: dict[str, MergeLayer] = {"delta_mean": delta_mean}


def merge(
    experts: Mapping[str, Adapter], *, method: str, weights: Mapping[str, float], scale: float
) -> tuple[dict[str, LoraFactors], dict[str, float]]:
    """Merge whole adapters, per skill, layer by layer, by one of `MERGE_METHODS`.

    Returns the merged adapter and the factors scale · wₜ / Σ w of the experts that are in it, which
    are those with a weight above 0; at scale 1 it is the mean.

    Raises:
        ConfigError: a weight names no expert, or weights and scale leave nothing to merge.
        AdapterMismatchError: experts differ in their layers or in a layer's shape, or their
            update is not finite.
    """
    merge_layer = choose("merge method", method, MERGE_METHODS)
    used = absolute_weights(weights, scale)
    without_expert = sorted(set(used) - set(experts))
    if without_expert:
        raise ConfigError(
            f"merge.weights: no expert was given for {', '.join(without_expert)}; give its file, "
            "or leave it out of the weights"
        )
    merged = {skill: experts[skill] for skill in sorted(used)}
    _check_layers(merged)
    adapter = {
        layer: merge_layer({skill: expert[layer] for skill, expert in merged.items()}, used)
        for layer in sorted(next(iter(merged.values())))
    }
    for layer, factors in adapter.items():
        if not (factors.lora_a.isfinite().all() and factors.lora_b.isfinite().all()):
            raise AdapterMismatchError(
                f"{layer}: the merged update is not finite; the experts' numbers, the weights or "
                "the scale are too large"
            )
    return adapter, used


def merge_files(
    files: Mapping[str, Path], out: Path, *, method: str, weights: Mapping[str, float], scale: float
) -> dict[str, Any]:
    """Merge adapter files as `merge` does, read the result back and certify it, see `certify`.

    Files without a weight, or of weight 0, are not read. The provenance of what is written holds
    the settings and the experts' own. Nothing is written if `merge` or `read_adapter` raises.
    ConfigError if `out` is one of the files, or is there and holds no adapter.
    """
    _check_target(out, files.values())
    paths = {name: path for name, path in sorted(files.items()) if weights.get(name)}
    experts = {name: read_adapter(path) for name, path in paths.items()}
    merged, used = merge(experts, method=method, weights=weights, scale=scale)
    settings = {"method": method, "scale": scale, "weights": dict(weights)}
    origins = {name: read_provenance(path) for name, path in paths.items()}
    write_adapter(out, merged, {"merge": settings, "experts": origins})
    return certify(read_adapter(out), experts, used)


def absolute_weights(weights: Mapping[str, float], scale: float) -> dict[str, float]:
    """Turn weights, at least 0, into the factors scale · wₜ / Σ w of those that are not 0."""
    for skill, weight in sorted(weights.items()):
        if not 0 <= weight < math.inf:
            raise ConfigError(f"merge.weights.{skill}: must be finite, at least 0; got {weight}")
    if not math.isfinite(scale):
        raise ConfigError(f"merge.scale: must be finite, got {scale}")
    if scale == 0:
        raise ConfigError("merge.scale: is 0, so nothing is left to merge; 1 gives the mean")
    total = sum(weights.values())
    if total == 0:
        raise ConfigError(
            "merge.weights: all are 0, so nothing is left to merge; raise one of them"
        )
    return {skill: scale * weight / total for skill, weight in weights.items() if weight}


def _check_target(out: Path, inputs: Iterable[Path]) -> None:
    """See that nothing but an adapter is written over, and no input."""
    if out.suffix != ".safetensors":
        raise ConfigError(f"{out}: expected the name of a .safetensors file to write")
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise ConfigError(f"{out}: is an input of this merge; name another file to write")
    if out.exists():
        try:
            read_adapter(out)
        except SelmaError as error:
            raise ConfigError(
                f"{out}: is there and holds no adapter; remove it, or name another file to write"
            ) from error


def _check_layers(experts: Mapping[str, Adapter]) -> None:
    """Check that all experts change the same layers, by updates of the same shape."""
    first, *others = sorted(experts)
    for other in others:
        for layer in sorted({*experts[first], *experts[other]}):
            want, got = (experts[skill].get(layer) for skill in (first, other))
            if want is None or got is None:
                has, lacks = (first, other) if got is None else (other, first)
                raise AdapterMismatchError(
                    f"{layer}: expert {lacks!r} has no such layer, but {has!r} has; train both "
                    "with the same target modules"
                )
            if got.shape != want.shape:
                raise AdapterMismatchError(
                    f"{layer}: update is {got.shape} in expert {other!r}, {want.shape} in "
                    f"{first!r}; train both on one base model"
                )
