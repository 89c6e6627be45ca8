"""Watches a U-Net's cross-attention: how much each cell looks at each token."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from selma.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

# Of Stable Diffusion 1, as published: 8 × 8 cells, and three of 16 × 16.
PUBLISHED_LAYERS = ("mid_block.attentions.0", *(f"up_blocks.1.attentions.{n}" for n in range(3)))
Maps = dict[str, "Tensor"]  # layer → (N, heads, cells, tokens)


class Watching:
    """An attention processor that notes what its layer looks at and does what it did before."""

    def __init__(self, inner: Any, name: str, maps: Maps) -> None:
        """Wrap a processor; `maps` gets the attention under `name`, anew at each call."""
        self._inner, self._name, self._maps = inner, name, maps

    def __call__(
        self, attn: Any, hidden_states: "Tensor", encoder_hidden_states: "Tensor", **rest: Any
    ) -> Any:
        """Note softmax(Q Kᵀ / √d); gradients flow through it."""
        query, key = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # (N, heads, cells or tokens, d)
            for part in (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states))
        )
        scores = (query.float() @ key.float().transpose(-1, -2)) * attn.scale
        self._maps[self._name] = scores.softmax(dim=-1)
        return self._inner(attn, hidden_states, encoder_hidden_states, **rest)


@contextlib.contextmanager
def watched(unet: Any, layers: Sequence[str]) -> Iterator[Maps]:
    """Note what some layers look at in each call of a U-Net; afterwards it is as it was.

    Args:
        unet: whose processors are wrapped meanwhile.
        layers: names of its cross-attention; see `find_layers`.

    Yields:
        The maps of the latest call.
    """
    maps: Maps = {}
    modules = {name: unet.get_submodule(name) for name in layers}
    before = {name: module.processor for name, module in modules.items()}
    try:
        for name, module in modules.items():
            module.processor = Watching(before[name], name, maps)
        yield maps
    finally:
        for name, module in modules.items():
            module.processor = before[name]


def find_layers(unet: Any, beginnings: Sequence[str] | None) -> tuple[str, ...]:
    """Name the cross-attention in some parts of a U-Net, of each stack of blocks the first.

    Args:
        unet: whose layers they are.
        beginnings: of the parts' names, e.g. "up_blocks.1"; None for `PUBLISHED_LAYERS`.

    Raises:
        ConfigError: a part has no cross-attention, or there is no such part.
    """
    known = [n for n, _ in unet.named_modules() if n.endswith("transformer_blocks.0.attn2")]
    wanted = PUBLISHED_LAYERS if beginnings is None else tuple(beginnings)
    found = []
    for beginning in wanted:
        inside = [name for name in known if f"{name}.".startswith(f"{beginning}.")]
        if not inside:
            parts = sorted(name.removesuffix(".transformer_blocks.0.attn2") for name in known)
            raise ConfigError(
                f"attention.layers: the U-Net has no cross-attention in {beginning!r}; "
                f"choose of: {', '.join(parts)}"
            )
        found += [name for name in inside if name not in found]
    return tuple(found)


def grid_of(cells: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """Say which rows and columns a number of cells is, of a latent that is halved ever again."""
    rows, columns = latent_size
    while rows * columns > cells:
        rows, columns = math.ceil(rows / 2), math.ceil(columns / 2)
    if rows * columns != cells:
        raise ValueError(f"{cells} cells are no grid of a latent of {latent_size}")
    return rows, columns
