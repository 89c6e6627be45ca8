"""Adapter files: read in any layout, written as diffusers' own, which stock diffusers loads.

A layer is ``<component>.<module>``, ``unet.mid_block…to_q``; the layouts are in `formats`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import LoraFactors
from selma.adapters.formats.reading import AdapterFile, provenance_of, read_file
from selma.adapters.formats.writing import write_diffusers

if TYPE_CHECKING:
    import torch

__all__ = [
    "AdapterFile",
    "factors_of",
    "read_adapter",
    "read_file",
    "read_provenance",
    "read_updates",
]


def write_adapter(
    path: Path, factors: Mapping[str, LoraFactors], provenance: Mapping[str, Any]
) -> None:
    """Write an adapter, whole or not at all; the bytes depend on the arguments only.

    Their scale is folded in. Provenance are JSON values: skill, seed, base model, params …; no
    times, no paths of a machine.
    """
    write_diffusers(path, factors, provenance)


def read_adapter(path: Path) -> dict[str, LoraFactors]:
    """Read an adapter in diffusers' or kohya's layout or a PEFT folder, per layer, in float32.

    A layer's scale is alpha / rank, with alpha from its own tensor, else from the metadata's or the
    folder's `LoraConfig`, else equal to the rank.

    Raises:
        MissingDataError: there is no such file.
        RecordError: it is not a whole safetensors file, or its metadata are no JSON.
        AdapterMismatchError: a tensor is no LoRA factor, half of a pair is missing, a layer is
            named twice, or a number is not finite.
    """
    return read_file(path).adapter


def read_updates(path: Path) -> "Iterator[tuple[str, torch.Tensor]]":
    """Multiply out an adapter's updates, ΔW in its weight's shape, one layer at a time."""
    for name, layer in read_adapter(path).items():
        yield name, layer.delta().view(layer.weight_shape)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read how an adapter was made; empty for a file that selma did not write."""
    return provenance_of(path)


def factors_of(tensors: Mapping[str, "torch.Tensor"], component: str) -> dict[str, LoraFactors]:
    """Pair up tensors named ``<module>.lora_A.weight`` and ``<module>.lora_B.weight``; scale 1.

    `component` is the network's name, ``unet``, by which the layers are then named.
    """
    suffix = ".lora_A.weight"
    layers = sorted(key.removesuffix(suffix) for key in tensors if key.endswith(suffix))
    return {
        f"{component}.{layer}": LoraFactors(
            tensors[layer + suffix], tensors[f"{layer}.lora_B.weight"]
        )
        for layer in layers
    }
