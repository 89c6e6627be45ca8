"""Checks of experts that stay apart in a denoiser: their names and their layers."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from selma.core.errors import AdapterMismatchError, ConfigError
from selma.diffusion.backbone import Backbone

if TYPE_CHECKING:
    import torch


def denoiser_layer(backbone: Backbone, name: str, source: str) -> Any:
    """Find the module of a backbone's denoiser that an adapter names, ``unet.mid_block…``.

    AdapterMismatchError, with the adapter's file `source`, if it is not there or is another
    component's, as a text encoder's.
    """
    component, _, path = name.partition(".")
    if component != backbone.component:
        raise AdapterMismatchError(
            f"{source}: {name}: is a layer of {component}; experts that are routed, switched, "
            f"composed or distilled may change {backbone.component} alone: merge them, or train "
            "them without it"
        )
    try:
        return backbone.denoiser.get_submodule(path)
    except AttributeError as error:
        raise AdapterMismatchError(
            f"{source}: {name}: the base model has no such layer; the adapter belongs to another "
            "base model"
        ) from error


def linear_layer(
    backbone: Backbone, name: str, source: str, updates: Iterable[tuple[int, int]]
) -> "torch.nn.Linear":
    """Find a linear layer that updates of these shapes (out, in) fit; else AdapterMismatchError."""
    import torch

    layer = denoiser_layer(backbone, name, source)
    if not isinstance(layer, torch.nn.Linear):
        raise AdapterMismatchError(
            f"{source}: {name}: is a {type(layer).__name__}; only linear layers can be routed or "
            "distilled: merge these experts instead, or train them on linear layers alone"
        )
    wanted = (layer.out_features, layer.in_features)
    for got in updates:
        if got != wanted:
            raise AdapterMismatchError(
                f"{source}: {name}: update is {got}, the base model's weight is {wanted}; the "
                "adapter belongs to another base model"
            )
    return layer


def check_router(experts: Sequence[str], top_k: int) -> None:
    """Refuse an expert that is named twice and a top_k that is no number of them."""
    if len(set(experts)) < len(experts):
        raise ConfigError(f"skills: {', '.join(experts)}: one is named twice; name it once")
    if not 1 <= top_k <= len(experts):
        raise ConfigError(f"top_k: expected 1 to {len(experts)}, the number of skills; got {top_k}")
