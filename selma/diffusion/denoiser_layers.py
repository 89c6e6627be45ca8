"""Looks up the layers of a denoiser that an adapter names."""

from collections.abc import Iterable
from typing import Any

from selma.core.errors import AdapterMismatchError
from selma.diffusion.backbone import Backbone


def denoiser_layers(backbone: Backbone, names: Iterable[str], source: str) -> dict[str, Any]:
    """Find the modules of a backbone's denoiser by the names of an adapter's layers, sorted.

    Args:
        backbone: whose denoiser it is.
        names: as ``unet.mid_block…``, with the component.
        source: the adapter's file.

    Raises:
        AdapterMismatchError: a layer is another component's, as a text encoder's, or not there.
    """
    modules = {f"{backbone.component}.{n}": m for n, m in backbone.denoiser.named_modules()}
    found = {}
    for name in sorted(names):
        component = name.partition(".")[0]
        if component != backbone.component:
            raise AdapterMismatchError(
                f"{source}: {name}: is a layer of {component}; experts that are routed, switched "
                f"or composed may change {backbone.component} alone: merge them, or train them "
                "without it"
            )
        if name not in modules:
            raise AdapterMismatchError(
                f"{source}: {name}: the base model has no such layer; the adapter belongs to "
                "another base model"
            )
        found[name] = modules[name]
    return found
