"""Merge methods, named by their formula, and the walk over an adapter's layers."""

from collections.abc import Callable, Mapping

from selma.core.errors import AdapterMismatchError, ConfigError
from selma.merging.factors import LoraFactors
from selma.merging.lowrank import compact, weighted_sum

Adapter = Mapping[str, LoraFactors]
MergeLayer = Callable[[Mapping[str, LoraFactors], Mapping[str, float]], LoraFactors]


def delta_mean(
    experts: Mapping[str, LoraFactors], merge_weights: Mapping[str, float]
) -> LoraFactors:
    """Merge one layer's experts so that ΔW = Σₜ wₜ · scaleₜ · Bₜ Aₜ, exactly.

    The rank grows to min(Σ rₜ, out, in). Experts of weight 0 are left out.

    Args:
        experts: per skill, all of one shape.
        merge_weights: per skill, used as given; `absolute_weights` makes them a mean.

    Source: SELMA, arXiv 2403.06952, section 3.4. (peft's combination type "linear" is another
    formula: it has cross terms Bᵢ Aⱼ and depends on how ΔW is split into factors.)
    """
    skills = [skill for skill in sorted(experts) if merge_weights[skill] != 0]
    layers = [experts[skill] for skill in skills]
    return compact(weighted_sum(layers, [merge_weights[skill] for skill in skills]))


MERGE_METHODS: dict[str, MergeLayer] = {"delta_mean": delta_mean}


def absolute_weights(weights: Mapping[str, float], scale: float) -> dict[str, float]:
    """Turn relative weights into the factors scale · wₜ / Σ w.

    Args:
        weights: per expert, 0 leaves it out; only their ratios matter.
        scale: the strength of the merged adapter, 1 is the mean.

    Raises:
        ConfigError: a weight is negative, all are 0, or the scale is 0.
    """
    negative = sorted(skill for skill, weight in weights.items() if weight < 0)
    if negative:
        raise ConfigError(
            f"merge.weights.{negative[0]}: must be at least 0, got {weights[negative[0]]}"
        )
    if scale == 0:
        raise ConfigError("merge.scale: is 0, so nothing is left to merge; 1 gives the mean")
    total = sum(weights.values())
    if total == 0:
        raise ConfigError(
            "merge.weights: all are 0, so nothing is left to merge; raise one of them"
        )
    return {skill: scale * weight / total for skill, weight in weights.items()}


def merge_adapters(
    experts: Mapping[str, Adapter], merge_layer: MergeLayer, merge_weights: Mapping[str, float]
) -> dict[str, LoraFactors]:
    """Merge whole adapters, layer by layer.

    Args:
        experts: per skill, its layers.
        merge_layer: one of `MERGE_METHODS`.
        merge_weights: per skill, used as given.

    Raises:
        ConfigError: experts and weights do not name the same skills.
        AdapterMismatchError: experts differ in their layers or in a layer's shape.
    """
    check_names(experts, merge_weights)
    check_layers(experts)
    layers = sorted(next(iter(experts.values())))
    return {
        layer: merge_layer({skill: experts[skill][layer] for skill in experts}, merge_weights)
        for layer in layers
    }


def check_names(experts: Mapping[str, Adapter], merge_weights: Mapping[str, float]) -> None:
    """Check that there is a weight for each expert and an expert for each weight.

    Raises:
        ConfigError: names what is missing on either side, or that there are no experts.
    """
    without_weight = sorted(set(experts) - set(merge_weights))
    without_expert = sorted(set(merge_weights) - set(experts))
    if without_weight:
        raise ConfigError(f"merge.weights: no weight for the expert {', '.join(without_weight)}")
    if without_expert:
        raise ConfigError(
            f"merge.weights: no expert was given for {', '.join(without_expert)}; "
            "give its file, also if its weight is 0"
        )
    if not experts:
        raise ConfigError("merge: there are no experts; give at least one file")


def check_layers(experts: Mapping[str, Adapter]) -> None:
    """Check that all experts change the same layers, by updates of the same shape.

    Raises:
        AdapterMismatchError: names the layer and the experts that differ.
    """
    first, *others = sorted(experts)
    for other in others:
        different = sorted(set(experts[first]) ^ set(experts[other]))
        if different:
            lacking = other if different[0] in experts[first] else first
            raise AdapterMismatchError(
                f"{different[0]}: expert {lacking!r} has no such layer, but "
                f"{first if lacking == other else other!r} has; "
                "train both with the same target modules"
            )
        for layer in sorted(experts[first]):
            want, got = experts[first][layer].shape, experts[other][layer].shape
            if got != want:
                raise AdapterMismatchError(
                    f"{layer}: update is {got} in expert {other!r}, {want} in {first!r}; "
                    "train both on one base model"
                )
