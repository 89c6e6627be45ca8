"""`selma preset`: writes a complete params.yaml."""

import argparse
from pathlib import Path

from selma.core.errors import ConfigError, MissingDataError

PRESETS = Path(__file__).resolve().parent.parent.parent / "presets"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("preset", help="write a complete params.yaml")
    command.add_argument("name", help="a file of presets/, without .yaml")
    command.add_argument("--out", type=Path, default=Path("params.yaml"))
    command.add_argument("--force", action="store_true", help="overwrite the file")
    words = "small numbers, and untrained models and a few prompts, which are written too"
    command.add_argument("--tiny", action="store_true", help=words)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Copy a preset; another params.yaml is overwritten only by --force."""
    from selma.core.choices import choose
    from selma.core.files import write_bytes_atomic

    if not PRESETS.is_dir():
        raise MissingDataError(f"{PRESETS}: no such folder; install selma from its repository")
    path = choose("preset", args.name, {file.stem: file for file in PRESETS.glob("*.yaml")})
    data = path.read_bytes()
    if args.tiny:
        from selma.tiny.presets import make_tiny, write_tiny

        tiny = make_tiny(args.name, data.decode())
        data = tiny.text.encode()
    if args.out.exists() and not args.force and args.out.read_bytes() != data:
        raise ConfigError(f"{args.out}: is there and differs from the preset; --force overwrites")
    if args.tiny:
        write_tiny(tiny, Path())
        tables = ", ".join(f"data/benchmarks/{row}.parquet" for row in tiny.benchmarks)
        print(f"wrote {len(tiny.models)} models to models/tiny, and {tables}")
    write_bytes_atomic(args.out, data)
    print(f"wrote {args.out}; `selma check` says what has to be filled in")
    if args.tiny:
        print("the models are untrained: `dvc repro` shows that all works, its scores mean nothing")
