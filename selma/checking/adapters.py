"""What a LoRA file holds: layers, ranks, base, norms of its blocks, and what looks wrong."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selma.adapters.files import AdapterFile

STANDS_OUT = 10  # times the median norm of a layer


@dataclass(frozen=True)
class Block:
    """The layers of one block of a network, e.g. ``unet.down_blocks.0``."""

    name: str
    layers: int
    ranks: tuple[int, int]  # least and greatest
    norm: float  # Frobenius, of all its updates ΔW together


@dataclass(frozen=True)
class AdapterFacts:
    """An adapter's size, parts and origin."""

    layers: int
    numbers: int  # in its factors
    size: int  # of the file, in bytes
    norm: float  # Frobenius, of all its updates
    blocks: list[Block]
    without_effect: list[str]  # layers whose update is zero
    scales: tuple[float, float]  # alpha ÷ rank, least and greatest
    layouts: tuple[str, ...]
    dtype: str
    bases: tuple[str, ...]  # published models that have all of its layers
    components: Mapping[str, int]  # network → number of its layers that are changed
    convolutions: int  # layers, of kernels larger than 1 × 1
    warnings: list[str]
    provenance: Mapping[str, Any] = field(default_factory=dict)  # as selma wrote it


def describe_adapter(path: Path) -> AdapterFacts:
    """Read an adapter and measure it; nothing is multiplied out.

    Raises:
        AdapterMismatchError, MissingDataError, RecordError: as `read_adapter`.
    """
    from selma.adapters.bases import possible_bases
    from selma.adapters.files import read_file
    from selma.adapters.measures import norm

    file = read_file(path)
    adapter = file.adapter
    squares = {name: norm(one) ** 2 for name, one in sorted(adapter.items())}
    members: dict[str, list[str]] = {}
    for name in squares:
        members.setdefault(_block(name), []).append(name)
    blocks = []
    for block, names in members.items():
        ranks = [adapter[name].rank for name in names]
        whole = math.sqrt(math.fsum(squares[name] for name in names))
        blocks.append(Block(block, len(names), (min(ranks), max(ranks)), whole))
    scales = [one.scale for one in adapter.values()]
    norms = {name: math.sqrt(square) for name, square in squares.items()}
    return AdapterFacts(
        layers=len(adapter),
        numbers=sum(one.lora_a.numel() + one.lora_b.numel() for one in adapter.values()),
        size=_size(path),
        norm=math.sqrt(math.fsum(squares.values())),
        blocks=blocks,
        without_effect=[name for name, square in squares.items() if square == 0],
        scales=(min(scales), max(scales)),
        layouts=file.layouts,
        dtype=str(file.dtype).removeprefix("torch."),
        bases=possible_bases(adapter),
        components=dict(Counter(name.partition(".")[0] for name in sorted(adapter))),
        convolutions=sum(one.kernel not in (None, (1, 1)) for one in adapter.values()),
        warnings=_warnings(file, norms),
        provenance=file.provenance,
    )


def _warnings(file: "AdapterFile", norms: Mapping[str, float]) -> list[str]:
    """Say what a person should look at."""
    found = []
    still = [name for name, norm in norms.items() if norm == 0]
    if still:
        found.append(f"{len(still)} of {len(norms)} layers have no effect: {_some(still)}")
    if file.alpha_assumed:
        found.append("no alpha in tensors or metadata: alpha = rank is assumed, as elsewhere")
    alphas = {round(one.scale * one.rank, 6) for one in file.adapter.values()}
    if len(alphas) > 1 and any(layout.startswith("kohya") for layout in file.layouts):
        found.append(
            f"alphas from {min(alphas):g} to {max(alphas):g}: stock diffusers loses those that "
            "differ from layer to layer; `selma export --to kohya` writes one"
        )
    moved = [norm for norm in norms.values() if norm]
    usual = statistics.median(moved) if moved else 0.0
    large = [name for name, norm in norms.items() if norm > STANDS_OUT * usual]
    if large:
        found.append(
            f"{len(large)} layers have more than {STANDS_OUT} times the median norm {usual:.3g}: "
            f"{_some(large)}"
        )
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", …" * (len(names) > 3)


def _size(path: Path) -> int:
    """Count the bytes of a file, or of a PEFT folder's weights."""
    from selma.adapters.formats.reading import PEFT_WEIGHTS, peft_folders

    files = [one / PEFT_WEIGHTS for one in peft_folders(path).values()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _block(layer: str) -> str:
    """``unet.down_blocks.0.attentions…`` is of unet.down_blocks.0, a middle one of its middle."""
    component, first, *rest = layer.split(".")
    number = rest[0] if rest else ""
    return f"{component}.{first}.{number}" if number.isdigit() else f"{component}.{first}"
