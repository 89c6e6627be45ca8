"""What a LoRA file holds: layers, ranks, base, norms of its blocks, and what looks wrong."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
    provenance: Mapping[str, Any] = field(default_factory=dict)  # as selma wrote it


def describe_adapter(path: Path) -> AdapterFacts:
    """Read an adapter and measure it; nothing is multiplied out.

    Raises:
        AdapterMismatchError, MissingDataError, RecordError: as `read_adapter`.
    """
    from selma.merging.files import read_adapter, read_provenance
    from selma.merging.lowrank import norm

    adapter = read_adapter(path)
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
    return AdapterFacts(
        layers=len(adapter),
        numbers=sum(one.lora_a.numel() + one.lora_b.numel() for one in adapter.values()),
        size=path.stat().st_size,
        norm=math.sqrt(math.fsum(squares.values())),
        blocks=blocks,
        without_effect=[name for name, square in squares.items() if square == 0],
        scales=(min(scales), max(scales)),
        provenance=read_provenance(path),
    )


def _block(layer: str) -> str:
    """``unet.down_blocks.0.attentions…`` is of unet.down_blocks.0, a middle one of its middle."""
    component, first, *rest = layer.split(".")
    number = rest[0] if rest else ""
    return f"{component}.{first}.{number}" if number.isdigit() else f"{component}.{first}"
