"""`selma check`: lists all that would stop a run."""

import argparse
import sys
from pathlib import Path

from selma.core.errors import ConfigError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("check", help="list all that would stop a run; changes nothing")
    command.add_argument("--params", type=Path, default=Path("params.yaml"))
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print each problem on a line of its own and give the exit code."""
    from selma.checking.problems import find_problems

    problems = find_problems(Path(), args.params)
    for problem in problems:
        print(f"selma: error: {' '.join(problem.split())}", file=sys.stderr)
    if not problems:
        print(f"{args.params}, skills, presets, dvc.yaml and models: no problems")
    return ConfigError.exit_code if problems else 0
