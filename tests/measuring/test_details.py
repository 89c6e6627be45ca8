"""DSG-1k's items are cut as its paper's tables cut them; other benchmarks by their own labels."""

import json

from selma.comparing.statistics import Bootstrap
from selma.measuring.details import answer_details

HOW = Bootstrap(200, 0.95, 0)


def row(item_id, source, points):
    questions = [
        {"question_id": number, "category": category, "filtered": point, "raw": point}
        for number, (_, category, point) in enumerate(points, start=1)
    ]
    return {
        "item_id": item_id, "sample": 0, "source": source, "weight": 1.0,
        "score": sum(point for *_, point in points) / len(points),
        "details": json.dumps({"questions": questions}),
    }  # fmt: skip


def cut(items):
    benchmark = [
        {
            "item_id": item_id,
            "questions": [
                {"question_id": number, "element": f"{broad} - {category} (x)"}
                for number, (broad, category, _) in enumerate(points, start=1)
            ],
        }
        for item_id, (_, points) in items.items()
    ]
    rows = [row(item_id, source, points) for item_id, (source, points) in items.items()]
    answers = [
        {"item_id": r["item_id"], "sample": 0, "question_id": 1, "answer": "Yes."} for r in rows
    ]
    tables, numbers = answer_details("dsg", rows, answers, benchmark, HOW)
    cells = {name: [(cell.name, cell.value) for cell in table] for name, table in tables.items()}
    return cells, numbers


def test_items_of_dsg1k_are_cut_into_groups_broad_types_and_skills():
    cells, numbers = cut({
        "vrd_1": ("vrd", [("entity", "whole", 1), ("relation", "spatial", 0)]),
        "countbench_2": ("countbench", [("attribute", "count", 1)]),
        "whoops_3": ("whoops", [("other", "made up", 0)]),
    })  # fmt: skip
    assert sorted(cells["group"]) == [("count", 100.0), ("defying", 0.0), ("relation", 50.0)]
    assert sorted(cells["broad type"]) == [
        ("attribute", 50.0), ("entity", 100.0), ("relation", 0.0)
    ]  # fmt: skip
    assert cells["skill"] == [
        ("Whole", 100.0), ("Spatial", 0.0), ("Count", 100.0), ("(rest)", 0.0)
    ]  # fmt: skip
    assert [name for name, _ in cells["source"]] == ["countbench", "vrd", "whoops"]
    assert numbers["nearly_yes"] == 3
    assert numbers["score_per_answered_question"] == 100 * 2 / 3


def test_items_of_another_benchmark_are_cut_by_their_own_categories():
    cells, _ = cut({"mine-1": ("a", [("entity", "whole", 1), ("entity", "hue", 0)])})
    assert cells["category"] == [("hue", 0.0), ("whole", 100.0)]
    assert set(cells) == {"category", "source"}
