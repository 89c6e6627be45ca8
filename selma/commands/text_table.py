"""Lines up cells in columns for a terminal."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
Show = Callable[[Record, int], str]  # a record's cell, given the decimals of its unit
Columns = Mapping[str, Show]
TEXT_COLUMNS = (
    "stage", "work", "measure", "model", "skill", "category", "judge", "first", "second", "name",
    "verdict", "state", "note", "",
)  # fmt: skip

NO_WIDTH = 1e-9  # narrower intervals are rounding
NO_VARIATION = "–: no variation; all prompts say the same, so nothing shows how sure that is."


def text_table(columns: Columns, records: Sequence[Record]) -> str:
    """Line up records below their columns' names; `TEXT_COLUMNS` are set to the left.

    A value in percent has two decimals, others have four.
    """
    lines = [
        list(columns),
        *([show(record, _digits(record)) for show in columns.values()] for record in records),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if name in TEXT_COLUMNS else cell.rjust(width)
            for name, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def short_hashes(text: str) -> str:
    """Cut commits and SHA-256 sums within a text to 12 characters."""
    return re.sub(r"\b([0-9a-f]{12})(?:[0-9a-f]{28}|[0-9a-f]{52})\b", r"\1", text)


def text_of(key: str) -> Show:
    return lambda record, digits: short_hashes(str(record[key]))


def number_of(
    key: str, decimals: int | None = None, *, sign: str = "", factor: float = 1.0
) -> Show:
    """Write factor times a number, with the sign "+" if asked; a dash if it is not defined."""

    def show(record: Record, digits: int) -> str:
        places, value = digits if decimals is None else decimals, record[key]
        return "–" if value is None else f"{factor * value:{sign}.{places}f}"

    return show


def interval_of(
    low: str, high: str, decimals: int | None = None, *, sign: str = "", factor: float = 1.0
) -> Show:
    """Write an interval in brackets; a dash if it is not defined or has no width."""
    ends = [number_of(key, decimals, sign=sign, factor=factor) for key in (low, high)]

    def show(record: Record, digits: int) -> str:
        if record[low] is None or factor * record[high] - factor * record[low] < NO_WIDTH:
            return "–"
        return f"[{ends[0](record, digits)}, {ends[1](record, digits)}]"

    return show


DIFFERENCE: Columns = {
    "interval": interval_of("low", "high", sign="+"),
    "p": number_of("p_value", 4),
}
VERDICT: Columns = {
    "wins/ties/losses": lambda r, digits: f"{r['wins']}/{r['ties']}/{r['losses']}",
    "prompts": text_of("n_items"),
    "detectable": number_of("minimum_detectable_effect"),
    "verdict": text_of("verdict"),
}


def _digits(record: Record) -> int:
    return 2 if record.get("unit") == "percent" else 4
