"""`selma inspect`: says what a LoRA file holds."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selma.checking.adapters import AdapterFacts

BAR = 24  # characters of the block with the greatest norm


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("inspect", help="say what a LoRA file holds")
    command.add_argument(
        "file", type=Path, metavar="LORA", help="a .safetensors file, or a PEFT folder"
    )
    command.add_argument("--json", action="store_true", help="all of it, for programs")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print size, origin, a line for each block with the norm of its update, and warnings."""
    import json
    from dataclasses import asdict

    from selma.adapters.routers import is_router
    from selma.checking.adapters import describe_adapter

    if is_router(args.file):
        _router(args.file, args.json)
        return
    facts = describe_adapter(args.file)
    if args.json:
        print(json.dumps(asdict(facts), indent=2, sort_keys=True))
        return
    warnings = [f"warning: {warning}" for warning in facts.warnings]
    for line in [*_head(args.file, facts), "", _blocks(facts), *warnings]:
        print(line)


def _router(path: Path, as_json: bool) -> None:
    import json

    from selma.checking.routers import describe_router

    facts = describe_router(path)
    if as_json:
        print(json.dumps(facts, indent=2, sort_keys=True))
        return
    print(
        f"{path}: a router (MoE-LoRA), {facts['layers']} layers, {facts['numbers']:,} numbers, "
        f"{facts['size'] / 1e6:.2f} MB, norm of its gates {facts['gate_norm']:.4g}"
    )
    print(f"experts: {', '.join(facts['experts'])}; {facts['top_k']} for each token")
    for key in ("name", "base", "seed", "step"):
        if facts["provenance"].get(key) is not None:
            print(f"{key}: {facts['provenance'][key]}")


def _head(path: Path, facts: "AdapterFacts") -> list[str]:
    low, high = facts.scales
    scale = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    parts = ", ".join(f"{name} {number} layers" for name, number in facts.components.items())
    of = " or ".join(facts.bases) or "none of Stable Diffusion 1, 2, XL and 3 as published"
    lines = [
        f"{path}: {facts.layers} layers, {facts.numbers:,} numbers, {facts.size / 1e6:.2f} MB, "
        f"alpha ÷ rank {scale}, norm {facts.norm:.4g}",
        f"layout: {' and '.join(facts.layouts)}; {facts.dtype}",
        f"changes: {parts}; {facts.convolutions} convolutions",
        f"made for: {of}",
    ]
    for key in ("name", "base", "seed", "step"):
        if facts.provenance.get(key) is not None:
            lines.append(f"{key}: {facts.provenance[key]}")
    if "merge" in facts.provenance:
        lines.append(_merged(facts.provenance["merge"]))
    return lines


def _merged(record: Any) -> str:
    """Say how a file was merged by the record in it, which may be anybody's."""
    try:
        weights = ", ".join(f"{name} {_weight(one)}" for name, one in record["weights"].items())
        return f"merged by {record['method']}, scale {record['scale']:g}: {weights}"
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return "merge record: not understood"


def _weight(weight: float | Mapping[str, float]) -> str:
    """Write a weight; those of blocks as ``(all 1, unet.mid_block 0.5)``."""
    if isinstance(weight, Mapping):
        return f"({', '.join(f'{block} {one:g}' for block, one in weight.items())})"
    return f"{weight:g}"


def _blocks(facts: "AdapterFacts") -> str:
    from selma.commands.text_table import text_of, text_table

    greatest = max(block.norm for block in facts.blocks) or 1.0
    records: list[dict[str, Any]] = []
    for block in facts.blocks:
        low, high = block.ranks
        records.append(
            {
                "name": block.name,
                "layers": block.layers,
                "rank": f"{low}" if low == high else f"{low} to {high}",
                "norm": f"{block.norm:.4g}",
                "bar": "█" * round(BAR * block.norm / greatest),
            }
        )
    columns = {key: text_of(key) for key in ("name", "layers", "rank", "norm")}
    return text_table({**columns, "": text_of("bar")}, records)
