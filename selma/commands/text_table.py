"""Lines up cells in columns for a terminal."""

import re
from collections.abc import Sequence

TEXT_COLUMNS = (
    "measure", "model", "skill", "category", "judge", "first", "second", "name", "verdict",
)  # fmt: skip

NO_WIDTH = 1e-9  # narrower intervals are rounding
NO_VARIATION = "–: no variation; all prompts say the same, so nothing shows how sure that is."


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Line up a header and rows in columns of equal width; `TEXT_COLUMNS` left, numbers right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if name in TEXT_COLUMNS else cell.rjust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def digits_of(unit: str) -> int:
    """Choose the number of decimals by the unit."""
    return 2 if unit == "percent" else 4


def plain(value: float | None, digits: int) -> str:
    """Write a number, or a dash for one that is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int) -> str:
    """Write a difference with its sign."""
    return "–" if value is None else f"{value:+.{digits}f}"


def interval(low: float | None, high: float | None, digits: int, *, sign: bool = False) -> str:
    """Write an interval in brackets, or a dash for one that is not defined or has no width."""
    write = signed if sign else plain
    if low is None or high is None or high - low < NO_WIDTH:
        return "–"
    return f"[{write(low, digits)}, {write(high, digits)}]"


def short_hashes(text: str) -> str:
    """Cut commits and SHA-256 sums within a text to 12 characters."""
    return re.sub(r"\b([0-9a-f]{12})(?:[0-9a-f]{28}|[0-9a-f]{52})\b", r"\1", text)
