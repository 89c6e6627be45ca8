"""Exports an adapter to another layout."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selma.adapters.factors import Adapter, LoraFactors
from selma.adapters.formats.reading import read_file
from selma.adapters.formats.writing import (
    beside_one_alpha,
    folded,
    write_diffusers,
    write_kohya,
    write_peft,
)
from selma.adapters.measures import distance, norm
from selma.adapters.targets import check_folder_target, check_target
from selma.core.choices import choose, choose_name
from selma.core.devices import torch_dtype
from selma.core.errors import AdapterMismatchError, ConfigError

if TYPE_CHECKING:
    import torch

Round = Callable[[Adapter, "torch.dtype | None"], dict[str, LoraFactors]]
LAYOUTS: dict[str, tuple[Round, Callable[..., None]]] = {  # as it holds factors; how it is written
    "diffusers": (folded, write_diffusers),
    "kohya": (beside_one_alpha, write_kohya),
    "peft": (folded, write_peft),
}
NAMES = ("diffusers", "sgm")  # of a U-Net's blocks


@dataclass(frozen=True)
class Exported:
    """How many layers were written, in which dtype, and what it cost."""

    layers: int
    dtype: str
    relative_error: float  # of the whole update, against what was read
    vanished: list[str]  # layers that had an effect and are zero in this dtype


def export(
    path: Path, out: Path, *, to: str, dtype: str | None = None, names: str = "diffusers"
) -> Exported:
    """Write an adapter's update in another layout, its scales folded in; `dtype` None: as it is.

    The provenance tells of the export. Nothing is written if it raises.

    Raises:
        ConfigError: an unknown layout, dtype or names, or `out` may not be written over.
        AdapterMismatchError: as `read_adapter`; or the adapter changes nothing, or would do so in
            this dtype, or its numbers are too large for it.
    """
    round_to, write = choose("layout", to, LAYOUTS)
    options = {"sgm": True} if choose_name("names", names, NAMES) == "sgm" else {}
    if options and to != "kohya":
        raise ConfigError("--names sgm: only kohya's layout has sgm's names; use --to kohya")
    chosen = None if dtype is None else torch_dtype(dtype)
    check = check_folder_target if to == "peft" else check_target
    check(out, [path], "export")
    file = read_file(path)
    chosen = chosen or _kept(file.dtype)
    name = str(chosen).removeprefix("torch.")
    rounded = round_to(file.adapter, chosen)
    norms = {layer: norm(one) for layer, one in file.adapter.items()}
    vanished = [layer for layer, one in rounded.items() if norms[layer] and not norm(one)]
    _check_effect(path, norms, vanished, name)
    provenance = {**file.provenance, "exported": {"layout": to, "dtype": name}}
    write(out, rounded, provenance, chosen, **options)
    error = _error(file.adapter, rounded) / math.hypot(*norms.values())
    return Exported(len(rounded), name, error, vanished)


def _check_effect(
    path: Path, norms: Mapping[str, float], vanished: Sequence[str], dtype: str
) -> None:
    effective = sum(norm > 0 for norm in norms.values())
    if not effective:
        raise AdapterMismatchError(
            f"{path}: changes nothing, the update of each of its {len(norms)} layers is zero; "
            "export an adapter that was trained"
        )
    if len(vanished) == effective:
        raise AdapterMismatchError(
            f"{path}: would change nothing in {dtype}, its numbers are so small that the update of "
            f"each of its {len(norms)} layers becomes zero; choose --dtype bfloat16 or float32"
        )


def _error(wanted: Adapter, found: Adapter) -> float:
    """Compute ‖ΔW₁ − ΔW₂‖ over all layers."""
    pairs = ((one, found[layer]) for layer, one in wanted.items())
    return math.hypot(*(distance(one, other) for one, other in pairs if not _same(one, other)))


def _same(one: LoraFactors, other: LoraFactors) -> bool:
    """Whether two updates are equal factor by factor, which is quick to see."""
    a, b = one.lora_a.double(), one.scale * one.lora_b.double()
    return a.equal(other.lora_a.double()) and b.equal(other.scale * other.lora_b.double())


def _kept(stored: "torch.dtype") -> "torch.dtype":
    """Keep a dtype that every reader knows; factors are read as float32, so none is wider."""
    import torch

    if stored.itemsize > torch.float32.itemsize:
        return torch.float32
    return stored if stored.itemsize > 1 else torch.float16
