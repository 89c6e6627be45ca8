"""The command line `selma …`; each command describes and runs itself, in `selma.commands`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import selma
from selma.core.errors import ConfigError
from selma.core.processor import pin_unless_off

PROJECT = (
    "check",
    "plan",
    "table",
    "track",
    "card",
    "clean",
    "study",
)  # work on the project in which they are run
COMMANDS = (
    "preset", "hub", *PROJECT, "merge", "inspect_adapter", "export", "import_benchmark",
    "questions", "convert", "score", "compare", "judges", "votes", "correct",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; see `selma.core.errors`."""
    args = build_parser().parse_args(argv)
    try:
        if args.run.__module__.rpartition(".")[2] in PROJECT and (project := project_above()):
            raise ConfigError(f"this folder is a part of a project; run it in {project}")
        pin_unless_off(Path("params.yaml"))
        return int(args.run(args) or 0)
    except BrokenPipeError:  # who reads has seen enough; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("selma: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        from selma.runtime.session import report_error

        return report_error(error)


def project_above() -> Path | None:
    """Find the selma project of which this folder is only a part; None if it is none, or whole."""
    if "DVC_ROOT" in os.environ or Path("params.yaml").exists():
        return None
    return next((up for up in Path.cwd().parents if (up / "params.yaml").exists()), None)


def build_parser() -> argparse.ArgumentParser:
    """Describe all commands; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="selma",
        description="Teaches a text-to-image model to follow its prompts, as a DVC pipeline.",
    )
    parser.add_argument("--version", action="version", version=f"selma {selma.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        import_module(f"selma.commands.{command}").add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
