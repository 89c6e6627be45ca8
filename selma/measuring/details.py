"""What a metric prints besides its number: its paper's tables, controls, published aggregates."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selma.comparing import breakdown
from selma.comparing.breakdown import Cell, prompt_cells, question_cells
from selma.comparing.categories import question_scores
from selma.comparing.statistics import Bootstrap

Row = Mapping[str, Any]
Rows = Sequence[Row]
Tables = dict[str, Sequence[Cell]]
PERCENT = 100.0


def answer_details(
    metric: str, rows: Rows, answers: Rows, benchmark: Rows, how: Bootstrap
) -> tuple[Tables, dict[str, Any]]:
    """Cut a score of answers into tables, and add the metric's own further numbers."""
    if metric == "dsg":
        return _dsg_tables(rows, benchmark, how), _dsg_numbers(rows, answers)
    return _tifa_details(rows, how)


def _dsg_tables(rows: Rows, benchmark: Rows, how: Bootstrap) -> Tables:
    """Cut into DSG's prompt groups and broad types, SELMA's Table 7, and the prompts' sources.

    A benchmark whose item ids are not DSG-1k's is cut by its questions' own categories.
    """
    from selma.benchmarks.dsg1k import GROUPS, SKILL_NAMES, broad_type, group_of

    def cells(label: Callable[[str, int, str], str | None]) -> list[Cell]:
        return question_cells(rows, label, PERCENT, how)

    sources = {"source": prompt_cells(rows, lambda row: row["source"], PERCENT, how)}
    if not all(any(part in row["item_id"] for part in GROUPS) for row in benchmark):
        return {"category": cells(lambda _item, _number, category: category), **sources}
    elements = {
        (row["item_id"], question["question_id"]): question["element"]
        for row in benchmark
        for question in row["questions"]
    }
    skills = cells(lambda _item, _number, category: SKILL_NAMES.get(category, "(rest)"))
    return {
        "group": prompt_cells(rows, lambda row: group_of(row["item_id"]), PERCENT, how),
        "broad type": cells(lambda item, number, _category: broad_type(elements[item, number])),
        "skill": _in_order(skills, [*SKILL_NAMES.values(), "(rest)"]),
        **sources,
    }


def _tifa_details(rows: Rows, how: Bootstrap) -> tuple[Tables, dict[str, Any]]:
    """Cut into sources, and TIFA's element types if there are; name numbers as its authors do."""
    from selma.benchmarks.tifa import ELEMENT_TYPES

    tables: Tables = {"source": prompt_cells(rows, lambda row: row["source"], PERCENT, how)}
    cells = question_cells(rows, lambda _item, _id, category: category or None, PERCENT, how)
    if cells:
        tables["element type"] = _in_order(cells, list(ELEMENT_TYPES))
    points: dict[str, list[float]] = {}
    for row in rows:
        for _, category, point in question_scores(row):
            points.setdefault(category, []).append(point)
    scores = breakdown.prompt_scores(rows).values()
    return tables, {
        "tifa_average": sum(scores) / len(scores),
        "tifa_stdev": breakdown.sample_deviation(rows),
        "accuracy_by_type": {name: sum(p) / len(p) for name, p in points.items() if name},
    }


def _dsg_numbers(rows: Rows, answers: Rows) -> dict[str, Any]:
    """The mean over the questions that have an answer, and how many answers just miss "yes"."""
    points = sum(point for row in rows for _, _, point in question_scores(row))
    asked = {(row["item_id"], row["sample"]) for row in rows}
    n_answers = sum((answer["item_id"], answer["sample"]) in asked for answer in answers)
    texts = [answer["answer"] for answer in answers]
    return {
        "n_answered_questions": n_answers,
        "score_per_answered_question": PERCENT * points / n_answers,
        "nearly_yes": sum(t != "yes" and t.strip().lower().rstrip(".!,") == "yes" for t in texts),
    }


def _always_yes(benchmark: Rows, answers: Rows) -> list[dict[str, Any]]:
    return [{**answer, "answer": "yes"} for answer in answers]


def _first_choice(benchmark: Rows, answers: Rows) -> list[dict[str, Any]]:
    choices = {
        (row["item_id"], question["question_id"]): question["choices"]
        for row in benchmark
        for question in row["questions"]
    }
    return [{**a, "answer": choices[a["item_id"], a["question_id"]][0]} for a in answers]


# What a judge that does not look would score: a name, and its answers to a benchmark's questions.
CONTROLS: dict[str, tuple[str, Callable[[Rows, Rows], list[dict[str, Any]]]]] = {
    "dsg": ("always yes", _always_yes),
    "tifa": ("first choice", _first_choice),
}


def hps_numbers(rows: Rows, partial: bool) -> dict[str, Any]:
    """Aggregate as the HPS benchmark prints it, if the pictures are those of its four styles.

    It knows one picture a prompt; of several, their mean counts.
    """
    import numpy as np

    from selma.scorers.hps import PICTURES_PER_STYLE, STYLES, benchmark_score

    if {row["source"] for row in rows} != set(STYLES):
        return {}
    scores = {style: np.full(PICTURES_PER_STYLE, np.nan) for style in STYLES}
    for item_id, score in breakdown.prompt_scores(rows).items():
        style, _, index = item_id.rpartition("/")
        scores[style][int(index)] = score
    found = benchmark_score(scores, partial=partial)
    styles = {
        style: {"mean": one.mean, "deviation_of_chunk_means": one.deviation, "n": one.pictures}
        for style, one in found.styles.items()
    }
    return {"hps_benchmark": {"styles": styles, "average": found.mean, "n": found.pictures}}


def _in_order(cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    """Put cells into the order of a paper's table; others come after it."""
    place = {name: number for number, name in enumerate(names)}
    return sorted(cells, key=lambda cell: (place.get(cell.name, len(place)), cell.name))
