"""A study as one HTML page, and a table's differences as an SVG figure; all text is escaped."""

from typing import Any

from selma.core.choices import choose
from selma.core.errors import RecordError
from selma.report.charts import Chart, Mark
from selma.report.numbers import Record, digits_of, interval, signed
from selma.report.page import PALETTE, environment
from selma.report.study_numbers import (
    cell_of,
    claim_cells,
    columns_of,
    hacking_of,
    label_of,
    legend,
)

TONES = {
    "shown": "good",
    "opposite": "bad",
    "not shown": "soft",
}  # CSS class of each verdict


def render_study(study: Record) -> str:
    """Write the page: claims, and each table with a chart of the first measure's differences."""
    tables = []
    for table in study["tables"].values():
        columns = columns_of(table)
        rows = [
            (label_of(study, label, row), [cell_of(row, column) for column in columns])
            for label, row in table["rows"].items()
        ]
        tables.append((table, columns, rows, _chart(table), _title(table)))
    most = max(len(table["against"]) for table in study["tables"].values())
    page = environment().get_template("study.html.j2")
    claims = [claim_cells(claim) for claim in study["claims"]]
    return page.render(
        study=study, claims=claims, tables=tables, legend=legend, tones=TONES,
        palette_rows=_palette(most), hacking=hacking_of(study),
    )  # fmt: skip


def render_figure(study: Record, name: str) -> str:
    """Draw a table's differences on its first measure, as an SVG that stands alone.

    Raises:
        ConfigError: there is no such table.
        RecordError: it compares nothing.
    """
    table = choose("table of the study", name, study["tables"])
    chart = _chart(table)
    if chart is None:
        raise RecordError(f"tables.{name}: compares nothing, so there is nothing to draw")
    title = f"{_title(table)}: {table['title']}"
    made = environment().get_template("study.svg.j2")
    palette = _palette(len(table["against"]))
    return made.render(chart=chart, table=table, title=title, palette_rows=palette)


def _chart(table: Record) -> Chart | None:
    measure = next(iter(table["measures"]))
    groups = {}
    for label, row in table["rows"].items():
        marks = [
            _mark(found[measure], against, place)
            for place, (against, found) in enumerate(row["differences"].items(), start=1)
            if measure in found
        ]
        if marks:
            groups[label] = marks
    return Chart(groups, len(table["against"]), zero=True) if groups else None


def _mark(found: Record, against: str, place: int) -> Mark:
    digits = digits_of(found["unit"])
    value = signed(found["difference"], digits)
    tip = f"− {against}: {value} ({interval(found)}), {found['verdict']}"
    style = f"m{place} {found['verdict']}"
    return Mark(style, tip, found["difference"], found["low"], found["high"])


def _title(table: Record) -> str:
    about: dict[str, Any] = next(iter(table["measures"].values()))
    return f"{about['title']}, {about['unit']}"


def _palette(number: int) -> list[tuple[str, str]]:
    return [PALETTE[place % len(PALETTE)] for place in range(max(number + 1, 2))]
