"""Keeps what the beams of a question have in common in place while a search reorders them."""

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


def share(cache: Cache, beams: int) -> None:
    """Make each row of a cache that of all beams of a search.

    `generate` copies a cache at each step so that its rows follow their beams. Beams never leave
    their question, so that what was read before them need not move.

    Args:
        cache: a dynamic one, of N prompts or of what N prompts look at; changed to N · beams rows.
        beams: of the search.
    """
    cache.batch_repeat_interleave(beams)
    for index, layer in enumerate(cache.layers):
        cache.layers[index] = _SharedLayer(layer.keys, layer.values)


class _SharedLayer(DynamicLayer):  # type: ignore[misc]
    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.update(keys, values)
        self.shared = keys.shape[-2]

    def reorder_cache(self, beam_idx: Tensor) -> Any:
        for states in (self.keys, self.values):  # (N · beams, heads, S, D / heads)
            states[:, :, self.shared :] = states[:, :, self.shared :].index_select(0, beam_idx)
