"""The command line `selma …`; each command describes and runs itself, in `selma.commands`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from selma.commands import (
    check,
    clean,
    compare,
    convert,
    import_benchmark,
    judges,
    merge,
    preset,
    questions,
    score,
    table,
    track,
    votes,
)
from selma.core.errors import ConfigError, SelmaError

PIPELINE = (preset, check, table, track, clean)
PARTS = (merge, import_benchmark, questions, convert, score, compare, judges, votes)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code; see `selma.core.errors`."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except BrokenPipeError:  # who reads has seen enough; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (SelmaError, OSError) as error:
        from selma.runtime.session import report_error

        return report_error(error if isinstance(error, SelmaError) else ConfigError(str(error)))
    except KeyboardInterrupt:
        print("selma: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        from selma.runtime.session import report_error

        return report_error(error)


def build_parser() -> argparse.ArgumentParser:
    """Describe all commands; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="selma",
        description="Teaches a text-to-image model to follow its prompts, as a DVC pipeline.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (*PIPELINE, *PARTS):
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
