"""Merges of whole adapters whose weights were computed or learned, not given."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.errors import AdapterMismatchError, ConfigError
from selma.merging.certificate import certify, relative_error
from selma.merging.factors import Adapter, LoraFactors
from selma.merging.files import read_adapter, read_provenance, write_adapter
from selma.merging.lowrank import compact, factor_svd, weighted_sum
from selma.merging.methods import merge
from selma.merging.methods.regmean import input_maps, output_error, regmean, shrink

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Fit:
    """A merge before it is written: exact, with a rank of up to Σ r in each layer."""

    target: Adapter
    facts: Mapping[str, Any]  # for the certificate


def fit_regmean(
    experts: Mapping[str, Adapter],
    grams: Mapping[str, "torch.Tensor"],
    *,
    text_layers: tuple[str, ...],
    weights: Mapping[str, float],
    scale: float,
    off_diagonals: float,
) -> Fit:
    """Merge the layers that read the text alone by `regmean`, and all others by the weighted mean.

    Args:
        experts: per skill.
        grams: of the inputs of those layers, per skill, see `input_maps`.
        text_layers: ends of their names.
        weights: relative, per skill; 0 leaves an expert out.
        scale: multiplies the whole; 1 is the mean.
        off_diagonals: of the Gram matrices, see `input_maps`.

    Returns:
        With the sum over those layers of what `regmean` makes least, "output_error": of the mean
        and of the fit, both at scale 1.

    Raises:
        ConfigError, AdapterMismatchError: as `merge` and `input_maps`; an expert has no such layer.
    """
    mean, used = merge(experts, method="delta_mean", weights=weights, scale=1.0)
    own = {skill: experts[skill] for skill in used}
    layers = sorted(layer for layer in mean if text_layers and layer.endswith(text_layers))
    if not layers:
        named = ", ".join(text_layers) or "none in models of this family"
        raise ConfigError(f"regmean: no expert changes a layer that reads the text alone ({named})")
    _check_width(mean, layers, grams)
    maps = input_maps({skill: grams[skill] for skill in used}, used, off_diagonals)
    kept = {skill: shrink(grams[skill], off_diagonals) for skill in used}
    target, errors = dict(_weighted(own, dict.fromkeys(mean, used))), {"mean": 0.0, "fit": 0.0}
    for layer in layers:
        having = {skill: adapter[layer] for skill, adapter in own.items() if layer in adapter}
        target[layer] = regmean(having, used, maps)
        for name, merged in (("mean", mean), ("fit", target)):
            errors[name] += sum(
                used[skill] * output_error(merged[layer], factors, kept[skill])
                for skill, factors in having.items()
            )
    scaled = {layer: replace(one, scale=one.scale * scale) for layer, one in target.items()}
    absolute = {skill: scale * weight for skill, weight in used.items()}
    return Fit(scaled, {"weights": absolute, "text_layers": len(layers), "output_error": errors})


def _check_width(mean: Adapter, layers: list[str], grams: Mapping[str, "torch.Tensor"]) -> None:
    for skill, gram in sorted(grams.items()):
        for layer in layers:
            if mean[layer].shape[1] != len(gram):
                raise AdapterMismatchError(
                    f"{layer}: reads {mean[layer].shape[1]} numbers, the text states of {skill} "
                    f"are {len(gram)} wide; the experts belong to another base model"
                )


def fit_weights(experts: Mapping[str, Adapter], weights: Mapping[str, Mapping[str, float]]) -> Fit:
    """Merge by absolute weights of each layer, ΔWˡ = Σₜ wₜˡ ΔWₜˡ; per layer, then skill.

    So it is also replayed from what a provenance says.
    """
    for layer, own in sorted(weights.items()):
        for skill, weight in sorted(own.items()):
            if not math.isfinite(weight):
                raise ConfigError(f"{layer}: the weight of {skill} is {weight}")
    return Fit(_weighted(experts, weights), {"weights_by_layer": weights})


def _weighted(
    experts: Mapping[str, Adapter], weights: Mapping[str, Mapping[str, float]]
) -> dict[str, LoraFactors]:
    target = {}
    for layer in sorted(weights):
        skills = sorted(skill for skill in weights[layer] if layer in experts[skill])
        parts = [experts[skill][layer] for skill in skills]
        target[layer] = weighted_sum(parts, [weights[layer][skill] for skill in skills])
    return target


def write_fit(
    out: Path,
    fit: Fit,
    files: Mapping[str, Path],
    *,
    rank: int | None,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a fit in the least rank that always can, min(Σ r, out, in), or at most `rank`.

    `files` are the experts'. The provenance holds the settings given, the fit's weights and the
    experts' own.

    Returns:
        `certify`'s facts of what was written and read back, its relative error being to the exact
        target; "distance_from_mean" is to the plain mean of the experts, relative; and the fit's
        own facts but for weights of single layers.
    """
    adapter = {
        layer: compact(one) if rank is None else factor_svd(one).truncate(rank)[0]
        for layer, one in fit.target.items()
    }
    for layer, one in adapter.items():
        if not (one.lora_a.isfinite().all() and one.lora_b.isfinite().all()):
            raise AdapterMismatchError(f"{layer}: the fitted update is not finite")
    experts = {skill: read_adapter(path) for skill, path in sorted(files.items())}
    origins = {skill: read_provenance(path) for skill, path in sorted(files.items())}
    write_adapter(out, adapter, {**provenance, **fit.facts, "experts": origins})
    written = read_adapter(out)
    equal = dict.fromkeys(experts, 1 / len(experts))
    facts = certify(written, experts, equal)
    distance = facts["relative_error"]
    error = float(f"{relative_error(written, {'target': fit.target}, {'target': 1.0}):.1e}")
    own = {key: value for key, value in fit.facts.items() if key != "weights_by_layer"}
    return {**facts, "relative_error": error, "distance_from_mean": distance, **own}
