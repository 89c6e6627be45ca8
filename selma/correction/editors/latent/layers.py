"""Which cross-attention of a U-Net the latent editor watches and guides."""

from collections.abc import Sequence
from typing import Any

from selma.core.errors import ConfigError
from selma.diffusion.attention import cross_attention

# Of Stable Diffusion 1, as published: 8 × 8 cells, and three of 16 × 16.
PUBLISHED_LAYERS = ("mid_block.attentions.0", *(f"up_blocks.1.attentions.{n}" for n in range(3)))


def find_layers(unet: Any, beginnings: Sequence[str] | None) -> tuple[str, ...]:
    """Name the cross-attention in some parts of a U-Net, of each stack of blocks the first.

    Args:
        unet: whose layers they are.
        beginnings: of the parts' names, e.g. "up_blocks.1"; None for `PUBLISHED_LAYERS`.

    Raises:
        ConfigError: a part has no cross-attention, or there is no such part.
    """
    known = [name for name in cross_attention(unet) if "transformer_blocks.0." in name]
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
