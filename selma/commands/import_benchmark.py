"""`selma import`: turns the public files of a benchmark into a benchmark table."""

import argparse
from collections import Counter
from pathlib import Path

from selma.commands.outputs import check_place
from selma.core.errors import ConfigError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("import", help="make a benchmark table of public files")
    add = command.add_argument
    names = "dsg1k, geneval, geneval2, hps, partiprompts, t2i-compbench, tifa"
    add("name", help=names, metavar="NAME")
    add("path", type=Path, metavar="PATH", help="the public file or folder")
    add("--out", type=Path, help="default: data/benchmarks/NAME.parquet")
    words = "a part of the benchmark will do: some styles, items"
    add("--partial", action="store_true", help=words)
    add("--force", action="store_true", help="overwrite the table")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read, check and write; a file with problems writes nothing."""
    from selma.benchmarks.importing import GIT_IDS, IMPORTERS, describe
    from selma.core.choices import choose
    from selma.core.tables import write_table

    read = choose("benchmark", args.name, IMPORTERS)
    out = args.out or Path(f"data/benchmarks/{args.name}.parquet")
    check_place(out)
    if out.exists() and not args.force:
        raise ConfigError(f"{out}: is there already; --force overwrites it")
    imported = read(args.path, partial=args.partial)
    about = describe(args.name, imported, partial=args.partial)
    write_table(out, "benchmark", imported.rows, about)
    of_all = f" of {about['n_published_items']}" if args.partial else ""
    sources = Counter(row["source"] for row in imported.rows)
    print(f"wrote {out}: {about['n_items']}{of_all} prompts, {about['n_questions']} questions")
    print(", ".join(f"{source} {count}" for source, count in sorted(sources.items())))
    for name in about["altered"]:
        print(f"{name}: not byte for byte the public file, whose git id is {GIT_IDS[name]}")
