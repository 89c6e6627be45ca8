"""Watches a U-Net's cross-attention: how much each cell looks at each token."""

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from selma.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

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
        layers: names of its cross-attention; see `cross_attention`.

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


def cross_attention(unet: Any) -> list[str]:
    """Name the layers that look at the text, in the order of the U-Net's modules."""
    return [name for name, _ in unet.named_modules() if name.endswith(".attn2")]


def layers_with_rows(unet: Any, rows: int) -> list[str]:
    """Name the cross-attention whose maps have so many rows of cells.

    Args:
        unet: whose layers they are.
        rows: e.g. 16 of the 64 of Stable Diffusion 1's latents, those of 512 pixels.

    Raises:
        ConfigError: there is none; the message says how many rows there can be.
    """
    found: dict[int, list[str]] = {}
    for name in cross_attention(unet):
        block = ".".join(name.split(".")[: 1 if name.startswith("mid_block") else 2])
        found.setdefault(_rows(block, unet.config), []).append(name)
    check_rows(rows, found)
    return found[rows]


def rows_with_attention(config: Mapping[str, Any]) -> set[int]:
    """Tell from a U-Net's config how many rows its maps of cross-attention have."""
    blocks = {
        f"{way}_blocks.{number}": name
        for way in ("down", "up")
        for number, name in enumerate(config[f"{way}_block_types"])
    }
    blocks["mid_block"] = str(config.get("mid_block_type", "UNetMidBlock2DCrossAttn"))
    return {_rows(block, config) for block, name in blocks.items() if "CrossAttn" in name}


def check_rows(rows: int, known: Collection[int]) -> None:
    """Refuse a number of rows that no map has; ConfigError says which there are."""
    if rows not in known:
        sizes = ", ".join(map(str, sorted(known))) or "none"
        raise ConfigError(
            f"map_size: no cross-attention of the U-Net has maps of {rows} rows; choose of: {sizes}"
        )


def _rows(block: str, config: Mapping[str, Any]) -> int:
    """Rows of a block's maps: each block but the last halves them, and going up is going back."""
    way, _, number = block.partition("_blocks.")
    size, lowest = config["sample_size"], len(config["block_out_channels"]) - 1
    rows = int(size if isinstance(size, int) else size[0])
    halvings = {"down": int(number or 0), "up": lowest - int(number or 0)}.get(way, lowest)
    for _ in range(halvings):
        rows = math.ceil(rows / 2)
    return rows


def mean_over_heads(maps: Maps) -> "Tensor":
    """Average maps of one size over all layers' heads, (N, cells, tokens)."""
    import torch

    return torch.cat(list(maps.values()), dim=1).mean(dim=1)


def grid_of(cells: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """Say which rows and columns a number of cells is, of a latent that is halved ever again."""
    rows, columns = latent_size
    while rows * columns > cells:
        rows, columns = math.ceil(rows / 2), math.ceil(columns / 2)
    if rows * columns != cells:
        raise ValueError(f"{cells} cells are no grid of a latent of {latent_size}")
    return rows, columns
