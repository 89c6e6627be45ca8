"""Charts as inline SVG: no scripts, no fonts, colours from the page's CSS classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Curve = Sequence[tuple[int, float]]
WIDTH = 440  # of a chart, in CSS pixels at its natural size: readable on a phone
LABELS = 112  # width of the column of row labels
ROW = 15  # height of one bar
GAP = 12  # between groups of bars
AXIS = 26  # height of the axis below


@dataclass(frozen=True)
class Mark:
    """A value with its interval; `kind` is a CSS class and the name in the tooltip."""

    kind: str
    value: float
    low: float
    high: float


def bar_chart(title: str, groups: Mapping[str, Sequence[Mark]], digits: int) -> str:
    """Draw bars from 0 with whiskers, a group per row label.

    Args:
        title: read out by screen readers.
        groups: row label → its bars.
        digits: decimals of a tooltip's numbers.
    """
    marks = [mark for group in groups.values() for mark in group]
    scale = _Scale(0.0, max((mark.high for mark in marks), default=1.0))
    return _rows(title, groups, scale, digits, bars=True)


def interval_chart(
    title: str, groups: Mapping[str, Sequence[Mark]], digits: int, *, zero: bool
) -> str:
    """Draw points with whiskers; with `zero` the axis holds 0 and a line marks it."""
    marks = [mark for group in groups.values() for mark in group]
    low = min((mark.low for mark in marks), default=0.0)
    high = max((mark.high for mark in marks), default=1.0)
    scale = _Scale(min(low, 0.0), max(high, 0.0)) if zero else _Scale(low, high)
    return _rows(title, groups, scale, digits, bars=False)


class _Scale:
    """Maps values to x positions; the ends are moved out to round numbers."""

    def __init__(self, low: float, high: float) -> None:
        span = (high - low) or max(abs(high), 1.0)
        raw = span / 4
        magnitude = 10.0 ** math.floor(math.log10(raw))
        self.step = next(magnitude * m for m in (1, 2, 2.5, 5, 10) if magnitude * m >= raw * 0.999)
        self.first = math.floor(low / self.step + 1e-9)
        self.last = max(math.ceil(high / self.step - 1e-9), self.first + 1)

    def x(self, value: float) -> float:
        share = (value / self.step - self.first) / (self.last - self.first)
        return LABELS + share * (WIDTH - LABELS - 16)

    def ticks(self) -> list[tuple[float, str]]:
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        digits += self.step * 10**digits % 1 > 1e-9
        values = [number * self.step for number in range(self.first, self.last + 1)]
        return [(self.x(value), f"{value:.{digits}f}".replace("-", "−")) for value in values]


def _rows(
    title: str, groups: Mapping[str, Sequence[Mark]], scale: _Scale, digits: int, *, bars: bool
) -> str:
    y, parts = 4.0, []
    for label, marks in groups.items():
        middle = y + ROW * len(marks) / 2
        parts.append(
            f'<text class="label" x="{LABELS - 10}" y="{middle + 4:.1f}" '
            f'text-anchor="end">{escape(label)}</text>'
        )
        for mark in marks:
            parts.append(_mark(mark, scale, y, digits, bars=bars))
            y += ROW
        y += GAP
    bottom = y - GAP / 2
    axis = [_tick(x, text, bottom) for x, text in scale.ticks()]
    if scale.first <= 0 <= scale.last:
        x = scale.x(0)
        axis.append(f'<line class="zero" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{bottom:.1f}"/>')
    return _svg(title, WIDTH, bottom + AXIS, [*axis, *parts])


def _mark(mark: Mark, scale: _Scale, y: float, digits: int, *, bars: bool) -> str:
    middle, x = y + ROW / 2, scale.x(mark.value)
    low, high = scale.x(mark.low), scale.x(mark.high)
    tip = f"{mark.kind}: {mark.value:.{digits}f} ({mark.low:.{digits}f} to {mark.high:.{digits}f})"
    if bars:
        start = scale.x(0)
        shape = (
            f'<rect class="bar {escape(mark.kind)}" x="{start:.1f}" y="{y + 1:.1f}" '
            f'width="{max(x - start, 0):.1f}" height="{ROW - 2}" rx="2"/>'
        )
    else:
        shape = f'<circle class="{escape(mark.kind)}" cx="{x:.1f}" cy="{middle:.1f}" r="4.5"/>'
    whisker = f'x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}"'
    kind = "whisker" if bars else f"whisker {escape(mark.kind)}"
    return f'<g><title>{escape(tip)}</title>{shape}<line class="{kind}" {whisker}/></g>'


def _tick(x: float, text: str, bottom: float) -> str:
    return (
        f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{bottom:.1f}"/>'
        f'<text class="tick" x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def line_chart(title: str, curve: Curve, limits: tuple[float, float]) -> str:
    """Draw one loss curve.

    Args:
        title: read out by screen readers.
        curve: (step, loss) with at least one point, steps ascending.
        limits: lowest and highest loss of the axis, shared by charts that are compared.
    """
    width, height, left, top = 220, 120, 44, 8
    low, high = limits
    span = (high - low) or 1.0
    last = curve[-1][0]

    def place(step: int, loss: float) -> str:
        x = left + step / last * (width - left - 8)
        return f"{x:.1f},{top + (high - loss) / span * (height - top):.1f}"

    points = " ".join(place(step, loss) for step, loss in curve)
    parts = [
        f'<line class="grid" x1="{left}" y1="{y}" x2="{width - 8}" y2="{y}"/>'
        f'<text class="tick" x="{left - 6}" y="{y + 4}" text-anchor="end">{value:.3f}</text>'
        for y, value in ((top, high), (height, low))
    ]
    parts.append(f'<polyline class="curve" points="{points}"/>')
    corner = f'x="{width - 8}" y="{height + 17}" text-anchor="end"'
    parts.append(f'<text class="tick" {corner}>{last} steps</text>')
    return _svg(title, width, height + AXIS, parts)


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" width="{width:.0f}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
