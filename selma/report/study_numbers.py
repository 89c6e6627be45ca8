"""A study's numbers as a person reads them: the columns and cells of its tables, and words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from selma.report.hacking import TRAINED_LEGEND, alarm_sign, hacking_sentences
from selma.report.numbers import TRAINED, Record, digits_of, interval, plain, signed

DECIDED = ("better", "worse")


@dataclass(frozen=True)
class Column:
    """A table's column: a measure's score, or its difference with what the table compares with.

    `paper` is the key of numbers printed elsewhere, None for ours.
    """

    heading: str
    measure: str
    against: str | None
    paper: str | None = None


@dataclass(frozen=True)
class Cell:
    """A number, the interval behind it, and whether the difference is decided and stands out.

    `note` follows the number: a sign that a row that it is of was trained against the measure.
    """

    value: str
    ends: str = ""
    strong: bool = False
    note: str = ""


def columns_of(table: Record) -> list[Column]:
    """List a table's columns after that of the labels; numbers of a paper stand beside ours."""
    printed = {key for row in table["rows"].values() for key in row["paper"]}
    columns = []
    for place, (measure, about) in enumerate(table["measures"].items()):
        unit = ", %" if about["unit"] == "percent" and "/" not in measure else ""
        columns.append(Column(f"{about['title']}{unit}", measure, None))
        if measure in printed:
            columns.append(Column("paper", measure, None, measure))
        for against in table["against"]:
            columns.append(Column(f"− {against}", measure, against))
            if against in printed and place == 0:
                columns.append(Column("paper", measure, against, against))
    return columns


def line_of(table: Record, column: Column) -> str:
    """Name a column by itself, for a table that is turned: its measure, too."""
    if column.against is None and column.paper is None:
        return column.heading
    less = "" if column.against is None else f" − {column.against}"
    title = table["measures"][column.measure]["title"]
    return f"{title}{less}{'' if column.paper is None else ', paper'}"


def cell_of(row: Record, column: Column) -> Cell:
    """Write one number of a row; a dash where there is none."""
    digits = digits_of(row["scores"][column.measure]["unit"])
    write = plain if column.against is None else signed
    if column.paper is not None:
        number = row["paper"].get(column.paper)
        return Cell("–" if number is None else write(number, digits))
    if column.against is None:
        note = TRAINED if column.measure.partition("/")[0] in row["trained_against"] else ""
        record = row["scores"][column.measure]
        ends = f"{plain(record['low'], digits)} to {plain(record['high'], digits)}"
        return Cell(plain(record["score"], digits), ends, note=note)
    found = row["differences"][column.against].get(column.measure)
    if found is None:  # of a row with itself
        return Cell("–")
    strong, note = found["verdict"] in DECIDED, TRAINED if found["trained"] else ""
    return Cell(signed(found["difference"], digits), interval(found), strong, note)


def label_of(study: Record, label: str, row: Record) -> str:
    """Write a row's label, with the sign of a hacking alarm if there is one."""
    return f"{label}{alarm_sign(study['hacking'], row['row'])}"


def hacking_of(study: Record) -> list[tuple[str, str]]:
    """Write a sentence for each mark of a row that was trained against a measure, with its tone."""
    return hacking_sentences(study["hacking"], study["measures"])


def claim_cells(claim: Record) -> dict[str, str]:
    """Write what a claim's difference is, by column."""
    digits = digits_of(claim["unit"])
    paper, found = claim["paper"], claim["minimum_detectable_effect"]
    return {
        "claim": claim["claim"],
        "verdict": claim["claim_verdict"],
        "difference": f"{signed(claim['difference'], digits)}{TRAINED if claim['trained'] else ''}"
        f" ({interval(claim)})",
        "crossed bootstrap": f"{signed(claim['bootstrap_low'], digits)} to "
        f"{signed(claim['bootstrap_high'], digits)}",
        "paper": "–" if paper is None else signed(paper, digits),
        "p (Holm)": "< 0.0001" if claim["p_value_holm"] < 1e-4 else f"{claim['p_value_holm']:.4f}",
        "seeds won": f"{claim['seeds_won']} of {len(claim['seeds'])}",
        "prompts won/tied/lost": f"{claim['wins']}/{claim['ties']}/{claim['losses']}",
        "deviation of seeds": _or_dash(claim["seed_deviation"], digits + 1),
        "detectable": _or_dash(found, digits),
    }


def legend(study: Record, table: Mapping[str, Any] | None = None) -> str:
    """Say what the numbers of a table are; without one, those of the claims."""
    level = f"{100 * study['confidence']:.4g} %"
    seeds = ", ".join(map(str, study["seeds"]))
    plural = "" if len(study["seeds"]) == 1 else "s"
    parts = [f"{len(study['seeds'])} training seed{plural} ({seeds}) × {_sizes(study, table)}."]
    if len(study["seeds"]) == 1:
        parts.append(f"In brackets: {level} interval over prompts. One seed: no interval or "
                     "verdict here covers another training.")  # fmt: skip
    else:
        parts.append(f"In brackets: Student's {level} interval over seeds and prompts.")
    if study["few_seeds"] and len(study["seeds"]) > 1:
        parts.append("Two seeds say little of another training: take three or more.")
    family = len(study["claims"]) if table is None else table["family"]
    if family:
        of_family = "" if family == 1 else f", adjusted by Holm's method for {family} differences"
        decided = "Shown or opposite" if table is None else "Decided (bold)"
        parts.append(f"{decided}: p ≤ {1 - study['confidence']:.3g}{of_family}.")
    if _has_trained(study, table):
        parts.append(TRAINED_LEGEND)
    return " ".join(parts)


def _sizes(study: Record, table: Mapping[str, Any] | None) -> str:
    """Count prompts and pictures of each of a table's measures, or of the claims', if any."""
    tables = study["tables"].values() if table is None else [table]
    found = study["claims"] if table is None and study["claims"] else _whole_scores(tables)
    prompts, pictures = ({record[key] for record in found} for key in ("n_items", "n_samples"))
    shown = [" or ".join(map(str, sorted(numbers))) for numbers in (prompts, pictures)]
    return f"{shown[0]} prompts × {shown[1]} picture{'' if pictures == {1} else 's'}"


def _has_trained(study: Record, table: Mapping[str, Any] | None) -> bool:
    """Tell whether a number carries the sign that a row was trained against its measure."""
    if table is None:
        return any(claim["trained"] for claim in study["claims"])
    rows, columns = table["rows"].values(), columns_of(table)
    return any(cell_of(row, column).note for row in rows for column in columns)


def _whole_scores(tables: Iterable[Record]) -> list[Record]:
    """List all rows' scores on whole measures, not on their parts."""
    rows = [row for table in tables for row in table["rows"].values()]
    return [score for row in rows for name, score in row["scores"].items() if "/" not in name]


def _or_dash(value: float | None, digits: int) -> str:
    return "–" if value is None else plain(value, digits)
