"""`selma merge`: merges LoRA files into one."""

import argparse
from pathlib import Path

from selma.core.errors import ConfigError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    command = commands.add_parser("merge", help="merge LoRA files into one")
    command.add_argument("experts", type=Path, nargs="+", metavar="LORA.safetensors")
    command.add_argument("-o", "--out", type=Path, required=True)
    command.add_argument("--weights", type=float, nargs="+", help="one per file; default: all 1")
    command.add_argument("--scale", type=float, default=1.0, help="1 is the weighted mean")
    command.add_argument("--method", default="delta_mean")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Merge, read the result back and say how exact it is."""
    from selma.core.choices import choose
    from selma.merging.certificate import certify
    from selma.merging.files import read_adapter, read_provenance, write_adapter
    from selma.merging.methods import MERGE_METHODS, absolute_weights, merge_adapters

    merge_layer = choose("merge method", args.method, MERGE_METHODS)
    names = [path.stem for path in args.experts]
    if len(set(names)) < len(names):
        names = [str(path) for path in args.experts]
    given = args.weights if args.weights is not None else [1.0] * len(names)
    if len(given) != len(names) or len(set(names)) < len(names):
        raise ConfigError(
            f"--weights: expected one for each of {len(names)} different files, got {len(given)}"
        )
    relative = dict(zip(names, given, strict=True))
    weights = absolute_weights(relative, args.scale)
    files = dict(zip(names, args.experts, strict=True))
    experts = {name: read_adapter(path) for name, path in files.items()}
    merged = merge_adapters(experts, merge_layer, weights)
    origins = {name: read_provenance(path) for name, path in files.items()}
    settings = {"method": args.method, "scale": args.scale, "weights": relative}
    write_adapter(args.out, merged, {"merge": settings, "experts": origins})
    facts = certify(read_adapter(args.out), experts, weights)
    print(f"{args.out}: rank {facts['rank']}, relative error {facts['relative_error']:.1e}")
