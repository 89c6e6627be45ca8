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
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Copy a preset; another params.yaml is overwritten only by --force."""
    from selma.core.choices import choose
    from selma.core.files import write_bytes_atomic

    if not PRESETS.is_dir():
        raise MissingDataError(f"{PRESETS}: no such folder; install selma from its repository")
    path = choose("preset", args.name, {file.stem: file for file in PRESETS.glob("*.yaml")})
    if args.out.exists() and not args.force and args.out.read_bytes() != path.read_bytes():
        raise ConfigError(f"{args.out}: is there and differs from the preset; --force overwrites")
    write_bytes_atomic(args.out, path.read_bytes())
    print(f"wrote {args.out}; `selma check` says what has to be filled in")
