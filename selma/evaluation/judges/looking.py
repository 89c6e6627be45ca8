"""Lets a decoder's beams share the keys and values of what they look at."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def look_once(
    decoder: Any, start: "torch.Tensor", states: "torch.Tensor", *, beams: int, **options: Any
) -> Any:
    """Give `generate` a cache that holds the cross-attention's keys and values and no token.

    `generate` repeats an encoder's states for each beam; left to itself it would compute the keys
    and values of each repetition.

    Args:
        decoder: called with `use_cache` it gives a `past_key_values` of an encoder's decoder.
        start: the first token, (N, 1).
        states: what the encoder gave, (N, S, D).
        beams: of the search.
        options: more arguments of the decoder, for instance a mask of the states.
    """
    from transformers.cache_utils import DynamicCache, EncoderDecoderCache

    looked = decoder(
        input_ids=start, encoder_hidden_states=states, use_cache=True, **options
    ).past_key_values.cross_attention_cache
    looked.batch_repeat_interleave(beams)
    return EncoderDecoderCache(DynamicCache(config=decoder.config), looked)
