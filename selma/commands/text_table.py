"""Lines up cells in columns for a terminal."""

import re
from collections.abc import Sequence

TEXT_COLUMNS = (
    "metric", "model", "skill", "source", "judge", "first", "second", "name", "verdict",
)  # fmt: skip

NO_WIDTH = 1e-9  # narrower intervals are rounding
NO_VARIATION = "–: no variation; all prompts say the same, so nothing tells how sure that is."


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a header and rows with columns of equal width; numbers to the right.

    Args:
        header: names of the columns; those in `TEXT_COLUMNS` are set to the left.
        rows: as many cells each.
    """
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if name in TEXT_COLUMNS else cell.rjust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


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
