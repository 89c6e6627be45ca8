"""A score with its interval, tables and controls, in JSON's types."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from selma.comparing.breakdown import (
    Cell,
    overall,
    power_note,
    prompt_scores,
    sample_deviation,
    weighted_mean,
)
from selma.comparing.statistics import Bootstrap

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Scored:
    """A score before it is put in words.

    Attributes:
        rows: of a scores table.
        about: what they are about.
        tables: title → cells.
        controls: name → rows of the same pictures or answers, spoilt on purpose.
        extra: further numbers of this metric.
    """

    rows: Sequence[Row]
    about: Mapping[str, Any]
    tables: Mapping[str, Sequence[Cell]]
    controls: Mapping[str, Sequence[Row]]
    extra: Mapping[str, Any]


def result_of(scored: Scored, how: Bootstrap) -> dict[str, Any]:
    """Bring a score into JSON's types, no number rounded; intervals are over prompts."""
    factor = float(scored.about["factor"])
    whole = overall(scored.rows, factor, how)
    deviation = sample_deviation(scored.rows)
    note = power_note(scored.rows, factor, how)
    unit = scored.about["unit"]
    return {
        **scored.about,
        "libraries": {"numpy": version("numpy"), **scored.about["libraries"]},
        "score": whole.value,
        "low": whole.low,
        "high": whole.high,
        "confidence": how.confidence,
        "resamples": how.resamples,
        "sample_deviation_over_prompts": None if deviation is None else factor * deviation,
        "n_prompts": whole.n_prompts,
        "n_questions": whole.n_questions,
        "power": None if note is None else {**asdict(note), "sentence": note.sentence(unit)},
        "tables": {
            title: [asdict(cell) for cell in cells] for title, cells in scored.tables.items()
        },
        "controls": {name: factor * weighted_mean(rows) for name, rows in scored.controls.items()},
        **scored.extra,
        "prompts": {
            item_id: factor * value for item_id, value in prompt_scores(scored.rows).items()
        },
    }
