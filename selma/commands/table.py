"""`selma table`: the results as a Markdown table."""

import argparse
from pathlib import Path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("table", help="print the results as a Markdown table")
    command.add_argument("--write", type=Path, metavar="FILE", help="put it between its markers")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the table, or put it into a file."""
    from selma.report.markdown import table_of
    from selma.report.marked import write_marked

    table = table_of()
    if args.write is None:
        print(table, end="")
        return
    write_marked(args.write, "results", table)
    print(f"wrote the results into {args.write}")
