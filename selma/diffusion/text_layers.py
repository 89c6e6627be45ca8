"""The layers that a denoiser projects the text by, and what may stand in for them."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from selma.diffusion.backbone import Backbone

if TYPE_CHECKING:
    import torch

Project = Callable[["torch.Tensor"], "torch.Tensor"]  # the text's states → keys or values


def text_layers(backbone: Backbone, ends: tuple[str, ...]) -> list[Any]:
    """Find the denoiser's layers whose names have one of some ends, as "attn2.to_v"."""
    return [layer for name, layer in backbone.denoiser.named_modules() if name.endswith(ends)]


@contextlib.contextmanager
def replaced_forward(
    layers: Sequence[Any], make: Callable[[Project, Any], Project]
) -> Iterator[None]:
    """Let layers compute what is made of their own projection, and at the end as before.

    Args:
        layers: modules that map one tensor to another.
        make: gets a layer's present projection and the layer, returns what takes its place.
    """
    before = [vars(layer).get("forward") for layer in layers]  # None: its class's
    for layer in layers:
        layer.forward = make(layer.forward, layer)
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            del layer.forward
            if own is not None:
                layer.forward = own
