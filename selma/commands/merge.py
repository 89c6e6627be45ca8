"""`selma merge`: merges LoRA files into one, and verifies such a file."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import ConfigError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("merge", help="merge LoRA files into one, or verify one")
    add = command.add_argument
    add("experts", type=Path, nargs="*", metavar="LORA.safetensors")
    add("-o", "--out", type=Path, help="beside it OUT.certificate.json is written")
    add("--weights", nargs="+", metavar="WEIGHT",
        help="one per file, 0 leaves it out, default all 1; or a YAML file, name → weight or "
        "{all: weight, BLOCK: weight}")  # fmt: skip
    add("--scale", type=float, default=1.0, help="1 is the weighted mean")
    add("--method", default="delta_mean")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="the method's own parameters")
    add("--rank", type=int, help="keep so many directions of each layer; default: all")
    add("--error-max", type=float, help="or as many as lose this share of its norm at most")
    add("--match-norm", action="store_true", help="rescale to the norm of the weighted mean")
    add("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    add("--seed", type=int, default=0, help="of methods that draw")
    add("--methods", action="store_true", help="list the methods and their formulas")
    add("--verify", type=Path, metavar="MERGED.safetensors",
        help="merge the files again as MERGED says it was made, and compare; exit status 0: the "
        "same bytes, 5: another merge, 6: inconclusive")  # fmt: skip
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Merge and say how exact the result is; or list the methods, or verify."""
    if args.methods:
        from selma.merging.methods.catalogue import METHODS, formula, parameters_of

        for name in METHODS:
            own = " ".join(f"{key}=…" for key in sorted(parameters_of(name)))
            print(f"{name:16}{formula(name)}{f'  --set {own}' if own else ''}")
    elif args.verify:
        from selma.merging.verification import verify

        print(verify(args.verify, args.experts))
    else:
        _merge(args)


def _merge(args: argparse.Namespace) -> None:
    from selma.core.devices import prepare_device
    from selma.merging.merge import Settings
    from selma.merging.merge_files import merge_files

    if not args.experts or args.out is None:
        raise ConfigError("selma merge: expected LoRA files and -o OUT.safetensors")
    files = _named(args.experts)
    settings = Settings(
        method=args.method, weights=_weights(args.weights, list(files)), scale=args.scale,
        rank=args.rank, error_max=args.error_max, match_norm=args.match_norm,
        parameters=_parameters(args.set), dtype=args.dtype, seed=args.seed,
    )  # fmt: skip
    certificate = args.out.with_suffix(".certificate.json")
    facts = merge_files(files, args.out, settings, certificate=certificate, device=prepare_device())
    print(
        f"{args.out}: rank {facts['rank']}, relative error {facts['relative_error']:.1e} against "
        f"{args.method}'s exact result"
    )
    for name, layers in facts["absent"].items():
        if layers:
            print(f"{name}: lacks {layers} of {len(facts['layers'])} layers; it counts as 0 there")


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Name files by their stems, with their folder's name where that is not enough."""
    stems = [path.stem for path in paths]
    longer = [f"{path.resolve().parent.name}/{path.stem}" for path in paths]
    names = stems if len(set(stems)) == len(paths) else longer
    if len(set(names)) < len(paths):
        raise ConfigError(
            f"selma merge: expected different files, got {', '.join(map(str, paths))}"
        )
    return dict(zip(names, paths, strict=True))


def _weights(given: Sequence[str] | None, names: Sequence[str]) -> Mapping[str, Any]:
    from selma.runtime.sections import MergeWeight
    from selma.runtime.yaml_files import read_yaml, validate

    if given is None:
        return dict.fromkeys(names, 1.0)
    if len(given) == 1 and Path(given[0]).suffix in (".yaml", ".yml"):
        path = Path(given[0])
        kind: Any = dict[str, MergeWeight]
        found: Mapping[str, Any] = validate(kind, read_yaml(path), str(path))
        if set(found) != set(names):
            raise ConfigError(
                f"{path}: expected a weight for each file, {', '.join(names)}; got "
                f"{', '.join(found)}; 0 leaves one out"
            )
        return found
    if len(given) != len(names):
        raise ConfigError(
            f"--weights: expected one for each of {len(names)} different files, got {len(given)}"
        )
    try:
        return dict(zip(names, map(float, given), strict=True))
    except ValueError as error:
        raise ConfigError(f"--weights: expected numbers, got {' '.join(given)}") from error


def _parameters(given: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE, a value as in YAML."""
    from selma.runtime.yaml_files import parse_yaml

    pairs = [text.partition("=") for text in given]
    for key, sign, _ in pairs:
        if not key or not sign:
            raise ConfigError(f"--set: expected KEY=VALUE, got {key!r}")
    return {key: parse_yaml(value, f"--set {key}") for key, _, value in pairs}
