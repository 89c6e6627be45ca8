"""A study's tables by what questions ask and by skill, from scores that a person can redo."""

import csv
import io
import json
from dataclasses import replace

import pytest

from selma.comparing.categories import split
from selma.comparing.items import ALL_SKILLS, item_scores
from selma.comparing.seed_comparison import over_seeds
from selma.core.errors import ConfigError
from selma.report.study_text import as_csv, as_markdown
from selma.studies.comparison import compare_study
from selma.studies.study_file import Study, row_of

QUESTIONS = {  # of each prompt: what it asks about, and what merged is told; base: always no
    "i0": [("colour", 1), ("colour", 0), ("shape", 1)],
    "i1": [("colour", 1)],
}
UNITS = {"dsg": ("percent", 100.0), "hps": ("", 1.0)}
SPLITS = {"dsg": "category", "hps": "skill"}


def rows_of(measure, right):
    """Two prompts with questions of DSG, four of two skills with HPS's number alone."""
    if measure == "hps":
        return [
            {"item_id": f"h{k}", "sample": 0, "source": f"s{k % 2}", "weight": 1.0, "details": "{}",
             "score": right * (1.0 + k)}
            for k in range(4)
        ]  # fmt: skip
    rows = []
    for name, asked in QUESTIONS.items():
        listed = [
            {"question_id": k, "category": category, "score": right * yes}
            for k, (category, yes) in enumerate(asked)
        ]
        score = sum(question["score"] for question in listed) / len(listed)
        details = json.dumps({"questions": listed})
        rows.append({"item_id": name, "sample": 0, "source": "s", "weight": 1.0, "score": score,
                     "details": details})  # fmt: skip
    return rows


def compared(unlike=(), **tables):
    """Compare merged with base; each table is {measure: split}, with what a paper prints.

    The parts named in `unlike` are base's alone.
    """
    made = Study(
        name="toy", question="?", seeds=[0], settings=[], targets=[], variants={"v": []},
        measures=["dsg", "hps"], trained_against={}, confidence=0.95, resamples=100, claims=[],
        tables={name: {"title": name, "measures": measures, "rows": {"merged": "v/merged"},
                       "against": {"base": "base"}, "paper": {"merged": {"base": 4.0}}}
                for name, measures in tables.items()},
    )  # fmt: skip
    scores = {}
    for measure, (unit, factor) in UNITS.items():
        about = {"metric": measure, "measure": measure, "title": measure.upper(), "version": "1",
                 "policy": "p", "judge": "j", "unit": unit, "factor": factor}  # fmt: skip
        for row, right in (("v/merged", 1.0), ("v/base", 0.0)):
            rows = rows_of(measure, right)
            whole = item_scores(measure, row, rows, about)
            for part, own in split(whole, rows, made.splits()[measure]).items():
                key = measure if part == ALL_SKILLS else f"{measure}/{part}"
                if key in unlike and row == "v/merged":
                    continue
                scores[key, row_of(row)] = over_seeds(row, {0: replace(own, measure=key)})
    return compare_study(made, scores)


def test_a_column_of_a_category_is_the_mean_over_its_questions():
    """Of three questions for colours two are right, of one for a shape one."""
    row = compared(kinds={"dsg": "category"})["tables"]["kinds"]["rows"]["merged"]
    found = {name: (one["score"], one["n_items"]) for name, one in row["scores"].items()}
    assert found == {
        "dsg": (pytest.approx(250 / 3), 2),
        "dsg/colour": (pytest.approx(200 / 3), 2),
        "dsg/shape": (pytest.approx(100.0), 1),
    }
    gains = {name: one["difference"] for name, one in row["differences"]["base"].items()}
    assert gains == {name: pytest.approx(score) for name, (score, _) in found.items()}


def test_a_preference_score_has_columns_by_skill_and_none_by_category():
    row = compared(skills={"hps": "skill"})["tables"]["skills"]["rows"]["merged"]
    found = {name: one["score"] for name, one in row["scores"].items()}
    assert found == {"hps": 2.5, "hps/s0": 2.0, "hps/s1": 3.0}
    with pytest.raises(ConfigError, match=r"tables\.t\.measures\.hps: its scores have no category"):
        compared(t={"hps": "category"})


def test_rows_that_do_not_share_a_measures_parts_are_named():
    with pytest.raises(
        ConfigError, match=r"tables\.t\.measures\.hps: v/merged and v/base do not share hps/s1;"
    ):
        compared(t={"hps": "skill"}, unlike=["hps/s1"])


def test_a_legend_counts_the_prompts_of_its_own_tables_measures():
    text = as_markdown(compared(a={"dsg": "category"}, b={"hps": "none"}, c=SPLITS))
    legends = [line.split(". ")[0] for line in text.splitlines() if "training seed" in line]
    assert legends == [
        "1 training seed (0) × 2 prompts × 1 picture",
        "1 training seed (0) × 4 prompts × 1 picture",
        "1 training seed (0) × 2 or 4 prompts × 1 picture",
    ]


def test_a_papers_difference_is_of_a_tables_first_measure_in_the_csv_too():
    rows = csv.DictReader(io.StringIO(as_csv(compared(both={"dsg": "category", "hps": "none"}))))
    papers = {row["measure"]: row["paper"] for row in rows if row["against"]}
    assert papers == {"dsg": "4.0", "dsg/colour": "", "dsg/shape": "", "hps": ""}
