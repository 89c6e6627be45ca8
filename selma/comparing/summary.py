"""The numbers people look at first: headline metrics, skill table, comparisons, plot rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from selma.comparing.comparison import ALL_SKILLS, METRICS, Bootstrap, ItemScores, summarise_model
from selma.comparing.verdicts import compare_skills

MODELS = ("base", "mixture", "merged")
TAUGHT = "merged"  # the model whose values carry the bare metric's name
BASELINES = ("base", "mixture")
PLOT_COLUMNS = ("metric", "model", "skill", "score", "low", "high")
DIGITS = 4

Table = Mapping[tuple[str, str], ItemScores]  # (metric, model) → scores
Record = dict[str, Any]


def skills_of(scores: ItemScores) -> tuple[str, ...]:
    """Give `ALL_SKILLS` and then each skill of a benchmark, sorted."""
    return (ALL_SKILLS, *sorted(set(scores.skills)))


def summarise(table: Table, bootstrap: Bootstrap) -> list[Record]:
    """Give each model's mean for each metric and skill, with intervals."""
    return [
        summarise_model(table[metric, model], skill, bootstrap)
        for metric in METRICS
        for model in MODELS
        for skill in skills_of(table[metric, model])
    ]


def compare(table: Table, bootstrap: Bootstrap) -> list[Record]:
    """Compare the taught model with each baseline for each metric and skill, with verdicts."""
    return [
        record
        for metric in METRICS
        for baseline in BASELINES
        for record in compare_skills(
            table[metric, TAUGHT],
            table[metric, baseline],
            skills_of(table[metric, TAUGHT]),
            bootstrap,
        )
    ]


def headline(scores: Sequence[Record], comparisons: Sequence[Record]) -> dict[str, float]:
    """Give flat metrics for `dvc metrics`, over all skills.

    ``dsg`` is the taught model's value, ``dsg_base`` and ``dsg_mixture`` the baselines',
    ``dsg_gain`` and ``dsg_over_mixture`` the differences to them; likewise for each metric.
    """
    flat = {
        row["metric"] + ("" if row["model"] == TAUGHT else f"_{row['model']}"): row["score"]
        for row in scores
        if row["skill"] == ALL_SKILLS
    }
    names = {"base": "gain", "mixture": "over_mixture"}
    flat |= {
        f"{row['metric']}_{names[row['baseline']]}": row["difference"]
        for row in comparisons
        if row["skill"] == ALL_SKILLS
    }
    return {name: round(value, DIGITS) + 0.0 for name, value in flat.items()}  # no -0.0


def by_skill(scores: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Give the taught model's values as metric → skill → value."""
    taught = [row for row in scores if row["model"] == TAUGHT and row["skill"] != ALL_SKILLS]
    return {
        metric: {
            row["skill"]: round(row["score"], DIGITS) for row in taught if row["metric"] == metric
        }
        for metric in METRICS
    }


def plot_csv(scores: Sequence[Record]) -> str:
    """Write the scores as CSV with the columns `PLOT_COLUMNS`, for `dvc plots`."""
    lines = [",".join(PLOT_COLUMNS)]
    lines += [",".join(_cell(row[column]) for column in PLOT_COLUMNS) for row in scores]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return f"{value:.{DIGITS}f}" if isinstance(value, float) else str(value)
