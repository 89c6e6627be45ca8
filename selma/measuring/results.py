"""A score with its interval, tables and controls, in JSON's types."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from selma.comparing import breakdown
from selma.comparing.statistics import Bootstrap

Row = Mapping[str, Any]
Rows = Sequence[Row]


@dataclass(frozen=True)
class Scored:
    """A scores table, its cuts by title, and as controls scores of spoilt answers by name."""

    rows: Rows
    about: Mapping[str, Any]
    tables: Mapping[str, Sequence[breakdown.Cell]]
    controls: Mapping[str, Rows]
    extra: Mapping[str, Any]


def result_of(scored: Scored, how: Bootstrap) -> dict[str, Any]:
    """Bring a score into JSON's types, no number rounded; intervals are over prompts."""
    factor = float(scored.about["factor"])
    whole = breakdown.overall(scored.rows, factor, how)
    deviation = breakdown.sample_deviation(scored.rows)
    note = breakdown.power_note(scored.rows, factor, how)
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
        "tables": {title: [*map(asdict, cells)] for title, cells in scored.tables.items()},
        "controls": {
            name: factor * breakdown.weighted_mean(rows) for name, rows in scored.controls.items()
        },
        **scored.extra,
        "prompts": {
            item_id: factor * value
            for item_id, value in breakdown.prompt_scores(scored.rows).items()
        },
    }
