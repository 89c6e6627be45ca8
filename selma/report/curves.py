"""What ways reach at what cost: curves with intervals in panels side by side, as an SVG figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selma.report.charts import Axis
from selma.report.page import PALETTE, environment

# In CSS pixels: columns of panels; width and height of one; left, top, right, bottom of its axes.
COLUMNS, WIDTH, HEIGHT = 3, 240, 190
LEFT, TOP, RIGHT, BOTTOM = 36, 24, 228, 160
KEY = 18  # height of the line that names the curves


@dataclass(frozen=True)
class Point:
    """A way on its curve."""

    name: str
    cost: float
    value: float
    low: float
    high: float


Panels = Mapping[str, Mapping[str, Sequence[Point]]]  # title → curve → its points, cheapest first


def render_curves(panels: Panels, *, title: str, cost: str, value: str) -> str:
    """Draw panels on equal axes, which hold 0, as an SVG that stands alone; all text is escaped.

    Args:
        panels: at least one, with the same curves in each; later ones lie above earlier ones.
        title: of the figure.
        cost: what is counted to the right.
        value: what is counted upwards.
    """
    points = [one for curves in panels.values() for own in curves.values() for one in own]
    across = Axis([0.0, *(one.cost for one in points)], LEFT, RIGHT)
    ends = [end for one in points for end in (one.low, one.high)]
    up = Axis([0.0, *ends], BOTTOM, TOP)
    names = list(next(iter(panels.values())))
    rows = -(-len(panels) // COLUMNS)
    places = [
        (WIDTH * (number % COLUMNS), KEY + HEIGHT * (number // COLUMNS))
        for number in range(len(panels))
    ]
    return (
        environment()
        .get_template("curves.svg.j2")
        .render(
            panels=list(zip(places, panels.items(), strict=True)), names=names, title=title,
            across=across, up=up, cost=cost, value=value, edges=(LEFT, TOP, RIGHT, BOTTOM),
            size=(WIDTH * COLUMNS, KEY + HEIGHT * rows), step=WIDTH * COLUMNS / len(names),
            palette_rows=[PALETTE[place % len(PALETTE)] for place in range(len(names) + 1)],
        )
    )  # fmt: skip
