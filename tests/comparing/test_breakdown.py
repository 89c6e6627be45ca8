"""Cells are means that can be counted by hand, and their intervals know what they cannot know."""

import json

import numpy as np
import pytest

from selma.comparing.breakdown import (
    overall,
    power_note,
    prompt_cells,
    prompt_scores,
    question_cells,
    sample_deviation,
    weighted_mean,
)
from selma.comparing.statistics import Bootstrap

HOW = Bootstrap(400, 0.95, 0)


def row(item_id, sample, source, points, weight=1.0):
    """A scores row; `points` are (category, point) of each question."""
    questions = [
        {"question_id": number, "category": category, "filtered": point, "raw": 1}
        for number, (category, point) in enumerate(points, start=1)
    ]
    score = sum(point for _, point in points) / len(points)
    details = json.dumps({"questions": questions})
    key = {"item_id": item_id, "sample": sample, "source": source}
    return {**key, "score": score, "weight": weight, "details": details}


ROWS = [
    row("a", 0, "x", [("color", 1), ("count", 0)], 2.0),
    row("a", 1, "x", [("color", 1), ("count", 1)], 2.0),
    row("b", 0, "x", [("color", 0)]),
    row("b", 1, "x", [("color", 0)]),
    row("c", 0, "y", [("color", 1), ("shape", 1), ("shape", 1)], 3.0),
    row("c", 1, "y", [("color", 1), ("shape", 0), ("shape", 1)], 3.0),
]


def numbers(cells):
    return [(cell.name, cell.value, cell.n_prompts, cell.n_questions) for cell in cells]


def test_a_prompt_is_the_mean_of_its_pictures_and_counts_by_its_weight():
    whole = overall(ROWS, 100, HOW)
    assert whole.value == pytest.approx(100 * (2 * 0.75 + 1 * 0 + 3 * (5 / 6)) / 6)
    assert (whole.n_prompts, whole.n_questions) == (3, 12)
    assert whole.low < whole.value < whole.high
    assert 100 * weighted_mean(ROWS) == pytest.approx(whole.value)
    assert prompt_scores(ROWS) == {"a": 0.75, "b": 0.0, "c": pytest.approx(5 / 6)}


def test_cells_of_prompts_are_means_over_their_prompts():
    cells = prompt_cells(ROWS, lambda row: row["source"], 1, HOW)
    assert numbers(cells) == [
        ("x", pytest.approx((2 * 0.75 + 0) / 3), 2, 6),
        ("y", pytest.approx(5 / 6), 1, 6),
    ]


def test_cells_of_questions_pool_all_questions_of_all_prompts():
    cells = question_cells(ROWS, lambda _item, _id, category: category, 100, HOW)
    assert numbers(cells) == [
        ("color", pytest.approx(100 * 4 / 6), 3, 6),
        ("count", pytest.approx(50), 1, 2),
        ("shape", pytest.approx(75), 1, 4),
    ]
    by_number = question_cells(
        ROWS, lambda _item, number, _: "first" if number == 1 else None, 1, HOW
    )
    assert numbers(by_number) == [("first", pytest.approx(4 / 6), 3, 6)]


def test_a_cell_whose_prompts_are_all_alike_has_no_interval():
    cells = question_cells(ROWS, lambda _item, _id, category: category, 1, HOW)
    assert [(cell.name, cell.low, cell.high) for cell in cells[1:]] == [
        ("count", None, None),
        ("shape", None, None),
    ]


def test_the_interval_covers_what_a_bootstrap_over_prompts_gives():
    rng = np.random.default_rng(0)
    points = rng.integers(0, 2, (200, 5))
    rows = [row(f"i{n:03}", 0, "x", [("c", int(p)) for p in points[n]]) for n in range(200)]
    cell = overall(rows, 1, Bootstrap(4000, 0.95, 1))
    means = points.mean(axis=1)[rng.integers(0, 200, (4000, 200))].mean(axis=1)
    np.testing.assert_allclose((cell.low, cell.high), np.quantile(means, (0.025, 0.975)), atol=4e-3)


def test_the_deviation_is_the_samples_and_needs_two_prompts():
    assert sample_deviation(ROWS) == pytest.approx(np.std([0.75, 0, 5 / 6], ddof=1))
    assert sample_deviation(ROWS[:2]) is None
    assert power_note(ROWS[:2], 1, HOW) is None


def test_the_standard_error_of_equal_weights_is_the_deviation_over_the_root_of_n():
    rows = [{**one, "weight": 1.0} for one in ROWS]
    note = power_note(rows, 100, HOW)
    assert note.standard_error == pytest.approx(100 * sample_deviation(rows) / 3**0.5)
    sure = power_note(rows, 100, Bootstrap(400, 0.99, 0))
    assert sure.half_width / note.half_width == pytest.approx(2.5758 / 1.96, rel=1e-4)


def test_two_prompts_have_a_deviation():
    assert sample_deviation(ROWS[:4]) == pytest.approx(np.std([0.75, 0], ddof=1))
