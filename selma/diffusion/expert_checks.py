"""Checks of experts that stay apart in a denoiser: their names and their layers."""

from collections.abc import Sequence
from typing import Any

from selma.core.errors import AdapterMismatchError, ConfigError
from selma.diffusion.backbone import Backbone


def denoiser_layer(backbone: Backbone, name: str, source: str) -> Any:
    """Find the module of a backbone's denoiser that an adapter names, ``unet.mid_block…``.

    AdapterMismatchError, with the adapter's file `source`, if it is not there or is another
    component's, as a text encoder's.
    """
    component, _, path = name.partition(".")
    if component != backbone.component:
        raise AdapterMismatchError(
            f"{source}: {name}: is a layer of {component}; experts that are routed, switched or "
            f"composed may change {backbone.component} alone: merge them, or train them without it"
        )
    try:
        return backbone.denoiser.get_submodule(path)
    except AttributeError as error:
        raise AdapterMismatchError(
            f"{source}: {name}: the base model has no such layer; the adapter belongs to another "
            "base model"
        ) from error


def check_router(experts: Sequence[str], top_k: int) -> None:
    """Refuse an expert that is named twice and a top_k that is no number of them."""
    if len(set(experts)) < len(experts):
        raise ConfigError(f"skills: {', '.join(experts)}: one is named twice; name it once")
    if not 1 <= top_k <= len(experts):
        raise ConfigError(f"top_k: expected 1 to {len(experts)}, the number of skills; got {top_k}")
