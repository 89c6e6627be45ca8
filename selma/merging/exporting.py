"""Exports an adapter to another layout."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selma.core.choices import choose, choose_name
from selma.core.devices import torch_dtype
from selma.core.errors import AdapterMismatchError, ConfigError
from selma.merging.factors import LoraFactors
from selma.merging.formats.reading import read_file
from selma.merging.formats.writing import write_diffusers, write_kohya, write_peft
from selma.merging.lowrank import norm
from selma.merging.targets import check_folder_target, check_target

if TYPE_CHECKING:
    import torch

LAYOUTS: dict[str, Callable[..., None]] = {
    "diffusers": write_diffusers, "kohya": write_kohya, "peft": write_peft,
}  # fmt: skip
NAMES = ("diffusers", "sgm")  # of a U-Net's blocks


@dataclass(frozen=True)
class Exported:
    """How many layers were written, and in which dtype."""

    layers: int
    dtype: str


def export(
    path: Path, out: Path, *, to: str, dtype: str | None = None, names: str = "diffusers"
) -> Exported:
    """Write an adapter's update in another layout, its scales folded in; `dtype` None: as it is.

    Nothing is written if it raises.

    Raises:
        ConfigError: an unknown layout, dtype or names, or `out` may not be written over.
        AdapterMismatchError: as `read_adapter`; or the adapter changes nothing.
    """
    write = choose("layout", to, LAYOUTS)
    options = {"sgm": True} if choose_name("names", names, NAMES) == "sgm" else {}
    if options and to != "kohya":
        raise ConfigError("--names sgm: only kohya's layout has sgm's names; use --to kohya")
    chosen = None if dtype is None else torch_dtype(dtype)
    check = check_folder_target if to == "peft" else check_target
    check(out, [path], "export")
    file = read_file(path)
    if not any(_has_effect(factors) for factors in file.adapter.values()):
        raise AdapterMismatchError(
            f"{path}: changes nothing, the update of each of its {len(file.adapter)} layers is "
            "zero; export an adapter that was trained"
        )
    chosen = chosen or _kept(file.dtype)
    write(out, file.adapter, file.provenance, chosen, **options)
    return Exported(len(file.adapter), str(chosen).removeprefix("torch."))


def _has_effect(factors: LoraFactors) -> bool:
    return bool(factors.scale) and norm(factors) > 0


def _kept(stored: "torch.dtype") -> "torch.dtype":
    """Keep a dtype that every reader knows; factors are read as float32, so none is wider."""
    import torch

    if stored.itemsize > torch.float32.itemsize:
        return torch.float32
    return stored if stored.itemsize > 1 else torch.float16
