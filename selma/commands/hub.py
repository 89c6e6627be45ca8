"""`selma hub pin`: fills in the revision of a model that params.yaml brings from the Hub."""

import argparse
from pathlib import Path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("hub", help="pin models of the Hugging Face Hub")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    pin = actions.add_parser("pin", help="fill in the newest revision of rows of `hub`")
    pin.add_argument("names", nargs="*", metavar="NAME", help="rows; without any, all open ones")
    pin.add_argument("--params", type=Path, default=Path("params.yaml"))
    pin.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Ask the Hub for each row's newest commit and write it into the file, whose words stay."""
    from selma.core.choices import choose
    from selma.hub.snapshots import newest_revision
    from selma.runtime.params import load_rows
    from selma.runtime.sections import HubParams
    from selma.runtime.yaml_files import set_value

    rows = load_rows("hub", HubParams, args.params)
    names = args.names or [name for name, row in rows.items() if row.revision is None]
    for name in names:
        repository = choose("row of hub", name, rows).repo
        revision = newest_revision(repository)
        set_value(args.params, ("hub", name, "revision"), revision)
        print(f"hub.{name}: {repository} at {revision}")
    if not names:
        print(f"{args.params}: every row of hub is pinned")
