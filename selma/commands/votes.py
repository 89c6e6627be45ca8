"""`selma votes`: what counted human votes for one of two models say, and how surely."""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from selma.commands.text_table import Record, Show, interval_of, number_of, text_of, text_table
from selma.core.errors import ConfigError, MissingDataError, RecordError

if TYPE_CHECKING:
    from selma.comparing.votes import Votes

COLUMNS = ("win", "lose", "tie")
NAMES = ("skill", "name")
INDEPENDENT = """\
Shares in %, with {percent:g} % intervals. wins: win / (win + lose), Wilson's interval. ties ½:
(win + tie / 2) / votes, normal interval with the multinomial variance. p: exact two-sided sign test
of win and lose. These come from the counts only and treat all votes as independent. Votes about
one prompt are not: with several a prompt, the true intervals are wider and p is larger."""
DEPENDENT = """\
(1 a prompt): the intervals if the {votes} votes of a prompt always agreed, so that n votes are
worth n / {votes}. Where they agree in part, the truth lies between the two."""
UNKNOWN = "--votes-per-prompt N also gives the intervals for votes of a prompt that always agree."


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "votes",
        help="win shares of human votes, with intervals and a sign test",
        description="Gives win shares of counted votes: of one line by --win, --lose and --tie, "
        "or of a CSV file with the columns skill (or name), win, lose, tie.",
    )
    add = parser.add_argument
    add("file", type=Path, nargs="?", metavar="VOTES.csv")
    for name in COLUMNS:
        add(f"--{name}", type=int)
    add("--votes-per-prompt", type=int, metavar="N", help="persons per prompt")
    add("--confidence", type=float, default=0.95, help="coverage of the intervals")
    add("--json", action="store_true", help="print all numbers unrounded")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print shares, intervals and p-values."""
    from selma.comparing.votes import Votes, judge_votes

    counts = [args.win, args.lose, args.tie]
    if (args.file is None) == (counts == [None] * 3) or (args.file is None and None in counts):
        raise ConfigError("votes: give either a CSV file, or all of --win, --lose and --tie")
    rows = [Votes("votes", *counts)] if args.file is None else read_votes(args.file)
    about = {"confidence": args.confidence, "votes_per_prompt": args.votes_per_prompt}
    records = judge_votes(rows, **about)
    if args.json:
        value = {**about, "votes": records}
        print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(_text(records, **about))
    return 0


def read_votes(path: Path) -> "list[Votes]":
    """Read counts from a CSV file with the columns skill (or name), win, lose, tie.

    Raises:
        MissingDataError: there is no such file.
        RecordError: with the line: a column, a name, a number or a cell is missing or too many.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            fields = [field.strip().casefold() for field in next(reader, [])]
            label = next((name for name in NAMES if name in fields), None)
            if label is None or set(fields) != {label, *COLUMNS} or len(fields) != 4:
                raise RecordError(
                    f"{path}: expected the columns skill (or name), win, lose and tie, got "
                    f"{', '.join(fields) or 'none'}"
                )
            rows = [
                _row(f"{path}:{reader.line_num}", fields, label, cells) for cells in reader if cells
            ]
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file; give a CSV file of votes") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path}: is no CSV file in UTF-8: {error}") from error
    if not rows:
        raise RecordError(f"{path}: holds no votes below its header")
    return rows


def _row(where: str, fields: Sequence[str], label: str, cells: Sequence[str]) -> "Votes":
    from selma.comparing.votes import Votes

    if len(cells) != len(fields):
        raise RecordError(f"{where}: expected {len(fields)} cells, as the header, got {len(cells)}")
    row = dict(zip(fields, cells, strict=True))
    name = row[label].strip()
    if not name:
        raise RecordError(f"{where}: the {label} is empty; name what was voted on")
    counts = [row[column] for column in COLUMNS]
    try:
        return Votes(name, *map(int, counts))
    except ValueError as error:
        raise RecordError(
            f"{where}: expected whole numbers in win, lose and tie, got {counts}"
        ) from error


def _text(records: Sequence[Record], confidence: float, votes_per_prompt: int | None) -> str:
    columns = {name: text_of(name) for name in ("name", *COLUMNS)}
    for title, name in (("wins", "win_share"), ("ties ½", "half_tie_share")):
        columns[title] = number_of(name, 2, factor=100)
        columns[f"{title} interval"] = _interval(name, "")
        if votes_per_prompt is not None:
            columns[f"{title} (1 a prompt)"] = _interval(name, "_dependent")
    columns |= {"p": _p_value("p_value"), "Holm p": _p_value("p_value_holm")}
    notes = INDEPENDENT.format(percent=100 * confidence)
    more = UNKNOWN if votes_per_prompt is None else DEPENDENT.format(votes=votes_per_prompt)
    return "\n".join([text_table(columns, records), "", notes, more])


def _interval(name: str, kind: str) -> Show:
    return interval_of(f"{name}_low{kind}", f"{name}_high{kind}", 2, factor=100)


def _p_value(name: str) -> Show:
    def show(record: Record, _: int) -> str:
        if record[name] == 0:
            return "<1e-300"  # less than a float can hold
        return f"{record[name]:.4f}" if record[name] >= 1e-4 else f"{record[name]:.1e}"

    return show
