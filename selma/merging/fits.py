"""Merges of whole adapters whose weights were computed or learned, not given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import Adapter, LoraFactors
from selma.core.errors import AdapterMismatchError, ConfigError
from selma.merging.certificate import LayerFacts, by_layer, measure, summarise
from selma.merging.lowrank import compact, factor_svd
from selma.merging.merge import Settings, merge
from selma.merging.merge_files import read_experts, write_certified
from selma.merging.methods.catalogue import first_line
from selma.merging.methods.regmean import input_maps, output_error, regmean, shrink
from selma.merging.weights import REST, Weights, absolute_weights

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
        experts: per skill; a layer that one lacks counts as zero there.
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
    absolute = {name: own[REST] for name, own in absolute_weights(weights, scale).items()}
    mean = merge(experts, _merge_of(weights, "concat")).adapter
    used = {skill: weight / scale for skill, weight in sorted(absolute.items())}
    layers = sorted(layer for layer in mean if text_layers and layer.endswith(text_layers))
    if not layers:
        named = ", ".join(text_layers) or "none in models of this family"
        raise ConfigError(f"regmean: no expert changes a layer that reads the text alone ({named})")
    _check_width(mean, layers, grams)
    maps = input_maps({skill: grams[skill] for skill in used}, used, off_diagonals)
    kept = {skill: shrink(grams[skill], off_diagonals) for skill in used}
    target = dict(mean)
    errors = {"mean": 0.0, "fit": 0.0}
    for layer in layers:
        own = {skill: experts[skill].get(layer) or _zero(mean[layer]) for skill in used}
        target[layer] = regmean(own, used, maps)
        for name, merged in (("mean", mean), ("fit", target)):
            errors[name] += sum(
                used[skill] * output_error(merged[layer], factors, kept[skill])
                for skill, factors in own.items()
            )
    scaled = {layer: replace(one, scale=one.scale * scale) for layer, one in target.items()}
    return Fit(scaled, {"weights": absolute, "text_layers": len(layers), "output_error": errors})


def _merge_of(weights: Weights, method: str) -> Settings:
    return Settings(
        method=method, weights=weights, scale=1.0, rank=None, error_max=None,
        match_norm=False, parameters={}, dtype="float32", seed=0,
    )  # fmt: skip


def _zero(like: LoraFactors) -> LoraFactors:
    """Make an update of nothing, of a layer's shape."""
    out, inside = like.shape
    zeros = like.lora_a.new_zeros
    return LoraFactors(zeros(1, inside), zeros(out, 1), kernel=like.kernel)


def _check_width(mean: Adapter, layers: list[str], grams: Mapping[str, "torch.Tensor"]) -> None:
    for skill, gram in sorted(grams.items()):
        for layer in layers:
            if mean[layer].shape[1] != len(gram):
                raise AdapterMismatchError(
                    f"{layer}: reads {mean[layer].shape[1]} numbers, the text states of {skill} "
                    f"are {len(gram)} wide; the experts belong to another base model"
                )


def learned_merge(weights: Mapping[str, Mapping[str, float]]) -> Settings:
    """Say as an ordinary merge what was learned: absolute weights per layer, then skill.

    So `verify` can do it again.
    """
    skills = sorted(set().union(*weights.values()))
    blocks = {
        skill: {REST: 1 / len(skills), **{layer: own[skill] for layer, own in weights.items()}}
        for skill in skills
    }
    return _merge_of(blocks, "delta_mean")


def write_fit(
    out: Path,
    fit: Fit,
    files: Mapping[str, Path],
    *,
    certificate: Path,
    rank: int | None,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a fit in the least rank that always can, min(Σ r, out, in), or at most `rank`.

    Its certificate is written and returned too; an older one goes before the fit does.

    `files` are the experts'. What is written holds the provenance, of which `fit` are the settings,
    the fit's facts and the experts' hashes and own provenance.

    Returns:
        The certificate, as of `merge_files`, with the fit's facts in it. The relative error is to
        the exact target, the cosine to the mean of the experts by the fit's weights.
    """
    adapter = _reduced(fit.target, rank)
    experts, origins = read_experts(files)
    weights = [fit.facts["weights"].get(skill, 0.0) for skill in experts]
    measured = {
        layer: _measure(layer, one, fit.target[layer], experts, weights)
        for layer, one in adapter.items()
    }
    facts = {
        **summarise(measured, list(experts)),
        **fit.facts,
        "settings": provenance["fit"],
        "formula": first_line(regmean),
        "layers": by_layer(measured),
    }
    whole = {**provenance, **fit.facts, "experts": origins}
    return write_certified(out, adapter, whole, certificate, facts)


def _reduced(target: Adapter, rank: int | None) -> dict[str, LoraFactors]:
    """Bring a fit to the rank and type in which it is written."""
    import torch

    adapter = {}
    for layer, one in target.items():
        exact = compact(one) if rank is None else factor_svd(one, rank).truncate(rank)
        adapter[layer] = exact.cast(torch.float32)
        if not (adapter[layer].lora_a.isfinite().all() and adapter[layer].lora_b.isfinite().all()):
            raise AdapterMismatchError(f"{layer}: the fitted update is not finite")
    return adapter


def _measure(
    layer: str,
    written: LoraFactors,
    target: LoraFactors,
    experts: Mapping[str, Adapter],
    weights: list[float],
) -> LayerFacts:
    own = [expert.get(layer) or _zero(target) for expert in experts.values()]
    absent = [skill for skill, expert in experts.items() if layer not in expert]
    return measure(written, target, own, weights, absent)
