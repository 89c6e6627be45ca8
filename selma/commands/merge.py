"""`selma merge`: merges LoRA files into one."""

import argparse
from pathlib import Path

from selma.core.errors import ConfigError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("merge", help="merge LoRA files into one")
    add = command.add_argument
    add("experts", type=Path, nargs="+", metavar="LORA.safetensors")
    add("-o", "--out", type=Path, required=True)
    add("--weights", type=float, nargs="+", help="one per file, 0 leaves it out; default: all 1")
    add("--scale", type=float, default=1.0, help="1 is the weighted mean")
    add("--method", default="delta_mean")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Merge, read the result back and say how exact it is."""
    from selma.merging.methods import merge_files

    paths: list[Path] = args.experts
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(paths) else [str(path) for path in paths]
    weights = [1.0] * len(paths) if args.weights is None else args.weights
    if len(weights) != len(paths) or len(set(names)) < len(paths):
        raise ConfigError(
            f"--weights: expected one for each of {len(set(names))} different files, got "
            f"{len(weights)} for {len(paths)}"
        )
    named = dict(zip(names, weights, strict=True))
    files = dict(zip(names, paths, strict=True))
    facts = merge_files(files, args.out, method=args.method, weights=named, scale=args.scale)
    print(f"{args.out}: rank {facts['rank']}, relative error {facts['relative_error']:.1e}")
