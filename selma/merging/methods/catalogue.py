"""The merge methods by name, and how one is applied to a layer."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import LoraFactors
from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.merging.methods.core_space import core_space
from selma.merging.methods.dare import dare
from selma.merging.methods.delta_mean import concat, delta_mean, svd
from selma.merging.methods.elementwise import Experts, Weights
from selma.merging.methods.factor_mean import factor_mean, peft_linear
from selma.merging.methods.iso_core import iso_core
from selma.merging.methods.knots import knots
from selma.merging.methods.magnitude_prune import magnitude_prune
from selma.merging.methods.released import released
from selma.merging.methods.ties import dare_ties, ties
from selma.merging.methods.tsv import tsv

if TYPE_CHECKING:
    import torch

METHODS: dict[str, Callable[..., "LoraFactors | torch.Tensor"]] = {
    "delta_mean": delta_mean,
    "concat": concat,
    "svd": svd,
    "factor_mean": factor_mean,
    "ties": ties,
    "dare": dare,
    "dare_ties": dare_ties,
    "magnitude_prune": magnitude_prune,
    "knots": knots,
    "tsv": tsv,
    "iso_core": iso_core,
    "core_space": core_space,
    "released": released,
    "peft_linear": peft_linear,
}
SUMS = ("delta_mean", "concat", "svd", "dare", "magnitude_prune", "iso_core")  # not means of a few
GIVEN = ("seed", "merge_in_core")  # not a person's to set


def layer_merger(
    method: str, parameters: Mapping[str, Any]
) -> Callable[[Experts, Weights, int], "LoraFactors | torch.Tensor"]:
    """Make the function that merges one layer: (experts, absolute weights, seed) → its target ΔW.

    Raises:
        ConfigError: there is no such method, or its parameters are others. Values are checked when
            a layer is merged; `check_method` does that beforehand.
    """
    function, names = choose("merge method", method, METHODS), _keywords(method)
    wanted, got = parameters_of(method), set(parameters)
    if wanted != got:
        raise ConfigError(
            f"merge.parameters of {method}: expected {_listed(wanted)}, got {_listed(got)}"
        )

    def merge_layer(experts: Experts, weights: Weights, seed: int) -> "LoraFactors | torch.Tensor":
        given = {"seed": seed, "merge_in_core": partial(_merge_in_core, seed=seed)}
        own = {name: given[name] for name in names & set(given)}
        return function(experts, weights, **parameters, **own)

    return merge_layer


def formula(method: str) -> str:
    """What a method computes, see `first_line`."""
    return first_line(choose("merge method", method, METHODS))


def first_line(function: Callable[..., Any]) -> str:
    """The first line of a function's docstring, which says of a method what it computes."""
    return (inspect.getdoc(function) or "").splitlines()[0]


def parameters_of(method: str) -> set[str]:
    """Names of the parameters that a person sets."""
    return _keywords(method) - set(GIVEN)


def check_method(method: str, parameters: Mapping[str, Any]) -> None:
    """See that a method takes these parameters, on two small experts; ConfigError if not."""
    import torch

    experts = {
        name: LoraFactors(torch.eye(2, 3) + shift, torch.eye(3, 2) - shift)
        for name, shift in (("a", 0.1), ("b", 0.3))
    }
    layer_merger(method, parameters)(experts, dict.fromkeys(experts, 0.5), 0)


def _keywords(method: str) -> set[str]:
    known = inspect.signature(choose("merge method", method, METHODS)).parameters.values()
    return {one.name for one in known if one.kind is one.KEYWORD_ONLY}


def _merge_in_core(
    images: Experts, weights: Weights, inner: Any, *, seed: int
) -> "LoraFactors | torch.Tensor":
    method = inner.get("method") if isinstance(inner, Mapping) else None
    if not isinstance(method, str) or method == "core_space":
        raise ConfigError(
            "merge.parameters.inner: expected another method and its parameters, e.g. "
            f"{{method: ties, density: 0.2}}; got {inner!r}"
        )
    rest = {name: value for name, value in inner.items() if name != "method"}
    return layer_merger(method, rest)(images, weights, seed)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
