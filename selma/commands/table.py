"""`selma table`: the results as a Markdown table."""

import argparse
from pathlib import Path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("table", help="print the results as a Markdown table")
    command.add_argument("--write", type=Path, metavar="FILE", help="put it between its markers")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print the table, or put it into a file."""
    from selma.core.files import write_bytes_atomic
    from selma.report.markdown import replace_results, table_of

    table = table_of()
    if args.write is None:
        print(table, end="")
        return
    text = replace_results(args.write.read_text(encoding="utf-8"), table, str(args.write))
    write_bytes_atomic(args.write, text.encode())
    print(f"wrote the results into {args.write}")
