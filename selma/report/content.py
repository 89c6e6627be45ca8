"""What the report shows: the comparison, the trainings, the merges, a choice of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selma.core.errors import RecordError
from selma.report.examples import Example

Curve = Sequence[tuple[int, float]]  # (step, loss)


@dataclass(frozen=True)
class Content:
    """All that the page is made of.

    Attributes:
        comparison: metrics/comparison.json.
        measure: the measure of the headline and of the pictures.
        skills: those that an expert was trained for; empty if that is not known.
        curves: loss curve per training, in the order they are shown.
        certificates: metrics/merges/NAME.json per merge.
        examples: chosen, in the order they are shown.
        n_by_outcome: number of pairs of pictures per outcome, among all pairs.
    """

    comparison: Mapping[str, Any]
    measure: str
    skills: Sequence[str] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)
    certificates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    examples: Sequence[Example] = ()
    n_by_outcome: Mapping[str, int] = field(default_factory=dict)


def parse_curve(text: str, where: str) -> list[tuple[int, float]]:
    """Read a loss curve, CSV with the columns step and loss.

    Raises:
        RecordError: a line is not a number of steps and a loss.
    """
    header, *lines = text.splitlines() or [""]
    if header != "step,loss":
        raise RecordError(f"{where}:1: expected the columns step,loss, got {header!r}")
    curve = []
    for number, line in enumerate(lines, start=2):
        try:
            step, loss = line.split(",")
            curve.append((int(step), float(loss)))
        except ValueError as error:
            raise RecordError(f"{where}:{number}: expected step,loss, got {line!r}") from error
    return curve
