"""A study's tables as Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from selma.report.numbers import Record
from selma.report.study_numbers import (
    Cell,
    cell_of,
    claim_cells,
    columns_of,
    hacking_of,
    label_of,
    legend,
    line_of,
)

DIGITS = 6  # of numbers in a CSV file
COLUMNS_MAX = 6  # of a table in Markdown that is not turned
NUMBERS = (
    "low", "high", "standard_error", "degrees_of_freedom", "bootstrap_low", "bootstrap_high",
    "seed_deviation", "seed_low", "seed_high", "p_value", "p_value_holm", "verdict",
    "minimum_detectable_effect", "seeds_won", "wins", "ties", "losses", "n_items", "n_samples",
)  # fmt: skip
_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
          "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
          "<": "$<$", "−": "$-$", "–": "--", "×": r"$\times$", "≤": r"$\leq$",
          "†": r"$\dagger$", "⚠": r"\textbf{!}"}  # fmt: skip


def as_markdown(study: Record) -> str:
    """Write all tables and the claims, each with a line that says what its numbers are."""
    parts = [f"**{study['question']}**"]
    if study["claims"]:
        claims = [claim_cells(claim) for claim in study["claims"]]
        lines = [[_bar(text) for text in cells.values()] for cells in claims]
        table = _pipes(list(claims[0]), lines)
        parts += [table, legend(study)]
    for table in study["tables"].values():
        parts += [f"**{table['title']}**", _table(study, table), legend(study, table)]
    if marks := hacking_of(study):
        parts += ["**Hacking alarm**", "\n".join(f"- {sentence}" for _, sentence in marks)]
    return "\n\n".join(parts) + "\n"


def as_latex(study: Record) -> str:
    """Write each table as a tabular for the package booktabs, its title and legend as comments."""
    parts = []
    if study["claims"]:
        claims = [claim_cells(claim) for claim in study["claims"]]
        lines = [list(map(_latex, cells.values())) for cells in claims]
        parts.append(_tabular("claims", legend(study), list(claims[0]), lines))
    for table in study["tables"].values():
        heads = ["", *(column.heading for column in columns_of(table))]
        lines = [
            [_latex(label_of(study, label, row)), *map(_strong_latex, _cells(table, row))]
            for label, row in table["rows"].items()
        ]
        parts.append(_tabular(table["title"], legend(study, table), heads, lines))
    parts += [f"% {sentence}\n" for _, sentence in hacking_of(study)]
    return "\n".join(parts)


def as_csv(study: Record) -> str:
    """Write a line for every score, difference and claim, with all that is known of it."""
    out = io.StringIO()
    columns = ["table", "label", "row", "measure", "against", "value", *NUMBERS, "seeds",
               "seed_means", "paper", "claim_verdict", "trained_against", "hacking"]  # fmt: skip
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for record in _records(study):
        seeds = {"seeds": " ".join(map(str, record["seeds"]))}
        means = {"seed_means": " ".join(f"{mean:.{DIGITS}f}" for mean in record["seed_means"])}
        writer.writerow({key: _rounded(value) for key, value in record.items()} | seeds | means)
    return out.getvalue()


FORMATS: Mapping[str, Callable[[Record], str]] = {
    "markdown": as_markdown, "latex": as_latex, "csv": as_csv
}  # fmt: skip


def _records(study: Record) -> Iterator[dict[str, Any]]:
    marks = {(mark["first"], mark["second"]): mark["mark"] for mark in study["hacking"]}
    for name, table in study["tables"].items():
        first = next(iter(table["measures"]))  # whose differences the paper prints
        for label, row in table["rows"].items():
            made = {"table": name, "label": label, "row": row["row"]}
            for measure, score in row["scores"].items():
                paper = row["paper"].get(measure)
                trained = {"trained_against": measure in row["trained_against"]}
                own = {"value": score["score"], "p_value": None, "paper": paper}
                yield {**score, **made, **own, **trained}
            for against, by_measure in row["differences"].items():
                for measure, found in by_measure.items():
                    own = {"against": found["second"], "value": found["difference"]}
                    own |= {"trained_against": found["trained"]}
                    own |= {"hacking": marks.get((row["row"], found["second"]))}
                    own |= {"paper": row["paper"].get(against) if measure == first else None}
                    yield {**found, **made, **own}
    for claim in study["claims"]:
        own = {"table": "claims", "label": claim["claim"], "row": claim["first"],
               "against": claim["second"], "value": claim["difference"],
               "trained_against": claim["trained"],
               "hacking": marks.get((claim["first"], claim["second"]))}  # fmt: skip
        yield {**claim, **own}


def _table(study: Record, table: Record) -> str:
    """Write one table; one that would be wide, turned, so that its rows stand side by side."""
    columns, rows = columns_of(table), table["rows"]
    labels = [_bar(label_of(study, label, row)) for label, row in rows.items()]
    cells = [[*map(_strong_markdown, _cells(table, row))] for row in rows.values()]
    if len(columns) > max(COLUMNS_MAX, len(rows)):
        heads, sides = labels, [_bar(line_of(table, column)) for column in columns]
        cells = [[*line] for line in zip(*cells, strict=True)]
    else:
        heads, sides = [_bar(column.heading) for column in columns], labels
    return _pipes(["", *heads], [[side, *line] for side, line in zip(sides, cells, strict=True)])


def _cells(table: Record, row: Record) -> list[Cell]:
    return [cell_of(row, column) for column in columns_of(table)]


def _pipes(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    import pandas as pd

    table = pd.DataFrame(lines)
    sides = ["left"] + ["right"] * (len(heads) - 1)
    return str(table.to_markdown(index=False, headers=heads, colalign=sides, disable_numparse=True))


def _strong_markdown(cell: Cell) -> str:
    value = f"**{cell.value}**{cell.note}" if cell.strong else f"{cell.value}{cell.note}"
    return f"{value} ({cell.ends})" if cell.ends else value


def _strong_latex(cell: Cell) -> str:
    value = rf"\textbf{{{_latex(cell.value)}}}" if cell.strong else _latex(cell.value)
    value += _latex(cell.note)
    return f"{value} ({_latex(cell.ends)})" if cell.ends else value


def _tabular(title: str, note: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [" & ".join(line) + r" \\" for line in lines]
    return "\n".join(
        [
            f"% {title}",
            f"% {note}",
            r"\begin{tabular}{l" + "r" * (len(heads) - 1) + "}",
            r"\toprule",
            " & ".join(map(_latex, heads)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _bar(text: str) -> str:
    """Keep a text in one cell of a Markdown table."""
    return re.sub(r"\s+", " ", text).replace("|", r"\|")


def _rounded(value: object) -> object:
    return round(value, DIGITS) if isinstance(value, float) else value
