"""Where the marks of a chart stand; `templates/charts.html.j2` draws them as inline SVG."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from selma.report.content import Curve
from selma.report.numbers import plain

WIDTH = 440  # of a chart, in CSS pixels at its natural size: readable on a phone
LABELS, RIGHT = 112, 16  # width of the column of row labels, and of the margin
ROW, GAP, AXIS = 15, 12, 26  # height of a mark's row, between groups, of the axis below
CURVE = (220, 120, 44, 8)  # of a loss curve: width, height of the axis, left and top margin


@dataclass(frozen=True)
class Mark:
    """A value with its interval.

    Attributes:
        style: CSS classes.
        tip: the tooltip.
    """

    style: str
    tip: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PlacedMark:
    """A mark in SVG coordinates; `start` is where its bar begins, None for a point."""

    mark: Mark
    y: float
    x: float
    low: float
    high: float
    start: float | None


@dataclass(frozen=True)
class Chart:
    """What the template draws.

    Attributes:
        ticks: (x, text) of the axis.
        zero: x of the line at 0, None if the axis does not hold it.
        labels: (y, text) of the groups.
        bottom: y of the axis.
    """

    ticks: Sequence[tuple[float, str]]
    zero: float | None
    labels: Sequence[tuple[float, str]]
    marks: Sequence[PlacedMark]
    bottom: float
    width: int = WIDTH

    @property
    def height(self) -> float:
        """With the axis."""
        return self.bottom + AXIS


class Scale:
    """Maps values to x positions; the ends are moved out to round numbers."""

    def __init__(self, low: float, high: float) -> None:
        span = (high - low) or max(abs(high), 1.0)
        raw = span / 4
        magnitude = 10.0 ** math.floor(math.log10(raw))
        self.step = next(magnitude * m for m in (1, 2, 2.5, 5, 10) if magnitude * m >= raw * 0.999)
        self.first = math.floor(low / self.step + 1e-9)
        self.last = max(math.ceil(high / self.step - 1e-9), self.first + 1)

    def x(self, value: float) -> float:
        """Place a value."""
        share = (value / self.step - self.first) / (self.last - self.first)
        return LABELS + share * (WIDTH - LABELS - RIGHT)

    def ticks(self) -> list[tuple[float, str]]:
        """Place the round numbers."""
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        digits += self.step * 10**digits % 1 > 1e-9
        values = [number * self.step for number in range(self.first, self.last + 1)]
        return [(self.x(value), plain(value, digits)) for value in values]


def chart(
    groups: Mapping[str, Sequence[Mark]], rows: int, *, bars: bool = False, zero: bool = False
) -> Chart:
    """Place a group of marks per row label, below each other.

    Args:
        groups: row label → its marks, at least one in all.
        rows: that a group takes; fewer marks stand in its middle.
        bars: bars from 0; else points.
        zero: the axis holds 0, as it always does for bars.
    """
    marks = [mark for group in groups.values() for mark in group]
    ends = [*(mark.low for mark in marks), *(mark.high for mark in marks)]
    scale = Scale(*_limits([*ends, 0.0] if bars or zero else ends))
    start = scale.x(0) if bars else None
    top, labels, placed = 4.0, [], []
    for label, group in groups.items():
        middle = top + ROW * rows / 2
        labels.append((middle + 4, label))
        for place, mark in enumerate(group):
            y = middle + ROW * (place - len(group) / 2)
            x, low, high = (scale.x(value) for value in (mark.value, mark.low, mark.high))
            placed.append(PlacedMark(mark, y, x, low, high, start))
        top += ROW * rows + GAP
    origin = scale.x(0) if scale.first <= 0 <= scale.last else None
    return Chart(scale.ticks(), origin, labels, placed, top - GAP / 2)


def _limits(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[0], ordered[-1]


@dataclass(frozen=True)
class CurveChart:
    """A loss curve as the points of an SVG polyline, and its axes' ends."""

    name: str
    points: str
    low: float
    high: float
    steps: int


def curve_charts(curves: Mapping[str, Curve]) -> list[CurveChart]:
    """Place loss curves, all on one scale of losses; those without points are left out."""
    shown = {name: curve for name, curve in curves.items() if curve}
    if not shown:
        return []
    low, high = _limits(loss for curve in shown.values() for _, loss in curve)
    width, height, left, top = CURVE
    charts = []
    for name, curve in shown.items():
        last = curve[-1][0]
        points = " ".join(
            f"{left + step / (last or 1) * (width - left - 8):.1f},"
            f"{top + (high - loss) / ((high - low) or 1) * (height - top):.1f}"
            for step, loss in curve
        )
        charts.append(CurveChart(name, points, low, high, last))
    return charts
