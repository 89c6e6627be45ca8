"""`selma track`: brings journals and experiments to MLflow."""

import argparse


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("track", help="bring journals and experiments to MLflow")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Bring them up to date and count the changes."""
    from selma.runtime.journal import root
    from selma.tracking.command import track

    lines, changes = track(root())
    print("\n".join(lines))
    print(f"{changes} changes")
