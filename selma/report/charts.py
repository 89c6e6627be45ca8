"""Loss curves, and the axes of the charts that `templates/charts.html.j2` draws as inline SVG."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from selma.core.errors import RecordError
from selma.report.numbers import plain

Curve = Sequence[tuple[int, float]]  # (step, loss)

# In CSS pixels at natural size, readable on a phone: width, column of row labels, right margin;
# height of a mark's row, space between groups, height of the axis; a letter, and beside a label.
WIDTH, LABELS, RIGHT, ROW, GAP, AXIS, LETTER, PAD = 440, 112, 16, 15, 12, 26, 6.5, 10


@dataclass(frozen=True)
class Mark:
    """A value with its interval, CSS classes and a tooltip."""

    style: str
    tip: str
    value: float
    low: float
    high: float


class Axis:
    """An axis whose ends are round numbers, of 4 steps or a few more."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        """Find the ends of an axis that holds the values, from `start` to `end` in CSS pixels."""
        self._start, self._end = start, end
        known = list(values)
        low, high = min(known), max(known)
        raw = ((high - low) or max(abs(high), 1.0)) / 4
        magnitude = 10.0 ** math.floor(math.log10(raw))
        self.step = next(magnitude * m for m in (1, 2, 2.5, 5, 10) if magnitude * m >= raw * 0.999)
        self.first = math.floor(low / self.step + 1e-9)
        self.last = max(math.ceil(high / self.step - 1e-9), self.first + 1)

    def place(self, value: float) -> float:
        share = (value / self.step - self.first) / (self.last - self.first)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[tuple[float, str]]:
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        digits += self.step * 10**digits % 1 > 1e-9
        values = [number * self.step for number in range(self.first, self.last + 1)]
        return [(self.place(value), plain(value, digits)) for value in values]


class Chart:
    """Groups of marks below each other, on one axis; long labels make it wider."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[Mark]],
        rows: int,
        bars: bool = False,
        zero: bool = False,
    ) -> None:
        """Find the axis; with `zero`, and for bars, it holds 0.

        `groups`: row label → its marks, at least one in all; each takes `rows`, in whose middle
        fewer marks stand.
        """
        self.groups, self.rows, self.bars = groups, rows, bars
        self.bottom = 4 + len(groups) * (rows * ROW + GAP) - GAP / 2
        self.height = self.bottom + AXIS
        self.left = max(LABELS, math.ceil(LETTER * max(map(len, groups))) + 2 * PAD)
        self.label_end = self.left - PAD
        self.width = WIDTH - LABELS + self.left
        ends = [end for marks in groups.values() for mark in marks for end in (mark.low, mark.high)]
        self.axis = Axis([*ends, 0.0] if bars or zero else ends, self.left, self.width - RIGHT)

    def x(self, value: float) -> float:
        return self.axis.place(value)

    def y(self, group: int, place: float) -> float:
        """Top of a row of a group, both counted from 0."""
        return 4 + group * (self.rows * ROW + GAP) + place * ROW


def curve_points(curve: Curve, low: float, high: float) -> str:
    """Place a loss curve as an SVG polyline: 168 px for its steps, 112 for low to high."""
    last, span = curve[-1][0] or 1, (high - low) or 1.0
    places = ((44 + step / last * 168, 8 + (high - loss) / span * 112) for step, loss in curve)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def parse_curve(text: str, where: str) -> list[tuple[int, float]]:
    """Read a loss curve, CSV of step, loss and more; RecordError names the wrong line."""
    header, *lines = text.splitlines() or [""]
    if header.split(",")[:2] != ["step", "loss"]:
        raise RecordError(f"{where}:1: expected the columns step,loss, got {header!r}")
    curve = []
    for number, line in enumerate(lines, start=2):
        try:
            step, loss = line.split(",")[:2]
            curve.append((int(step), float(loss)))
        except ValueError as error:
            raise RecordError(f"{where}:{number}: expected step,loss, got {line!r}") from error
    return curve
