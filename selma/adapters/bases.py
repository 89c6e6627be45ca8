"""Which published model an adapter belongs to, by its layers' names and shapes."""

import re

from selma.adapters.factors import Adapter
from selma.adapters.formats.architecture import BASES, layers_of

_SD3 = re.compile(r"transformer\.(?:transformer_blocks\.\d+\.|context_embedder|norm_out|proj_out)")
_SD3_WIDTHS = {24 * 64, 38 * 64}  # 3 and 3.5 medium, 3.5 large
_SD3_ENCODERS = {"text_encoder": 768, "text_encoder_2": 1280}


def find_base(adapter: Adapter) -> str | None:
    """Name the base: "sd1", "sd2", "sdxl" or "sd3"; None if it is none of them, or not certain."""
    found = possible_bases(adapter)
    return found[0] if len(found) == 1 else None


def possible_bases(adapter: Adapter) -> tuple[str, ...]:
    """List the bases that have all of an adapter's layers, with weights of these shapes."""
    found = [base for base in BASES if _has_all(base, adapter)]
    if all(_of_sd3(layer, adapter[layer].weight_shape) for layer in adapter):
        found.append("sd3")
    return tuple(found)


def _has_all(base: str, adapter: Adapter) -> bool:
    layers = layers_of(base)
    return all(layers.get(name) == one.weight_shape for name, one in adapter.items())


def _of_sd3(layer: str, shape: tuple[int, ...]) -> bool:
    component = layer.partition(".")[0]
    if component in _SD3_ENCODERS:
        return _SD3_ENCODERS[component] in shape
    return bool(_SD3.match(layer)) and ".attn1." not in layer and bool(_SD3_WIDTHS & {*shape})
