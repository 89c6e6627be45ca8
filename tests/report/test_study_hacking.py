"""The hacking alarm in a study's tables: two rows, one of which learnt its reward's mistakes."""

import csv
import io

import pytest

from selma.comparing.items import item_scores
from selma.comparing.seed_comparison import over_seeds
from selma.report.study_page import render_study
from selma.report.study_text import as_csv, as_latex, as_markdown
from selma.studies.comparison import compare_study
from selma.studies.study_file import Study, row_of

GAINS = {"reward": {"hacked": 1.0, "fine": 1.0}, "dsg": {"hacked": -0.1, "fine": 0.1}}


def about(measure):
    unit = {"unit": "percent", "factor": 100.0} if measure == "dsg" else {"unit": "", "factor": 1.0}
    made = {"metric": measure, "measure": measure, "title": measure.upper(), "version": "1"}
    return {**made, "policy": "p", "judge": f"judge of {measure}", **unit}


def scores(measure, model, seeds=(0, 1, 2)):
    """On two prompts alike; seeds differ by 1 % of the gain."""
    gain = GAINS[measure].get(model, 0.0)
    by_seed = {
        seed: item_scores(measure, f"v/{model}", [
            {"item_id": f"i{k}", "sample": 0, "source": "s", "weight": 1.0,
             "score": 0.5 + gain * (1 + 0.01 * seed)}
            for k in range(2)
        ], about(measure))
        for seed in seeds
    }  # fmt: skip
    return over_seeds(f"v/{model}", by_seed)


@pytest.fixture
def study():
    claims = [
        {"claim": claim, "measure": measure, "first": f"v/{first}", "second": f"v/{second}",
         "direction": "greater", "paper": None}
        for claim, measure, first, second in (
            ("the reward rises", "reward", "hacked", "base"),
            ("plain is better", "reward", "plain", "hacked"),
            ("by DSG", "dsg", "plain", "hacked"),
        )
    ]  # fmt: skip
    made = Study(
        name="toy", question="?", seeds=[0, 1, 2], settings=[], targets=[], variants={"v": []},
        measures=["dsg", "reward"], confidence=0.95, resamples=100,
        trained_against={"v/hacked": ["reward"], "v/fine": ["reward"]},
        tables={"all": {
            "title": "All", "measures": {"reward": "none"}, "against": {"base": "base"},
            "rows": {"hacked": "v/hacked", "fine": "v/fine", "plain": "v/plain"}, "paper": {},
        }, "turned": {
            "title": "Turned", "measures": {"reward": "none", "dsg": "none"},
            "rows": {"against the hacked": "v/plain"}, "against": {"hacked": "hacked"}, "paper": {},
        }},
        claims=claims,
    )  # fmt: skip
    found = {
        (measure, row_of(f"v/{model}")): scores(measure, model)
        for measure in GAINS for model in ("hacked", "fine", "plain", "base")
    }  # fmt: skip
    return compare_study(made, found)


def test_the_alarm_looks_at_all_measures_also_at_those_that_a_table_does_not_show(study):
    hacked, fine = study["hacking"]
    assert (hacked["first"], hacked["second"], hacked["mark"]) == ("v/hacked", "v/base", "alarm")
    assert (hacked["risen"], hacked["fallen"], hacked["family"]) == (["reward"], ["dsg"], 4)
    assert hacked["differences"]["dsg"]["difference"] == pytest.approx(-10.1)
    assert (fine["first"], fine["mark"], fine["fallen"]) == ("v/fine", "quiet", [])


def test_markdown_marks_the_row_its_numbers_and_says_why(study):
    text = as_markdown(study)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line[:2] == "| "}
    assert "1.510†" in lines["hacked ⚠"] and "**+1.010**† (" in lines["hacked ⚠"]
    assert "†" in lines["fine"] and "†" not in lines["plain"]
    assert "+1.010† (" in lines["the reward rises"]
    assert "- Hacking alarm: v/hacked − v/base. REWARD +1.010 (+0.985 to +1.035), which" in text
    assert "- Quiet: v/fine − v/base." in text
    assert text.count("†: trained or selected against this measure") == 3


def test_a_difference_is_marked_whichever_of_its_rows_was_trained_against_the_measure(study):
    text = as_markdown(study)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line[:2] == "| "}
    cells = [cell.strip() for cell in lines["against the hacked"].split("|")]
    assert "†" not in cells[2] and "**−1.010**† (" in cells[3]  # plain's own number and less hacked
    assert "†" not in cells[4] + cells[5]
    assert "−1.010† (" in lines["plain is better"] and "†" not in lines["by DSG"]


def test_latex_csv_and_page_have_it_too(study):
    assert r"hacked \textbf{!} & 1.510$\dagger$ " in as_latex(study)
    rows = list(csv.DictReader(io.StringIO(as_csv(study))))
    marks = {(row["row"], row["against"]): row["hacking"] for row in rows if row["against"]}
    assert marks == {
        ("v/hacked", "v/base"): "alarm", ("v/fine", "v/base"): "quiet", ("v/plain", "v/base"): "",
        ("v/plain", "v/hacked"): "",
    }  # fmt: skip
    trained = {
        (row["measure"], row["against"]): row["trained_against"]
        for row in rows
        if row["row"] == "v/plain"
    }
    assert trained == {
        ("reward", ""): "False", ("reward", "v/base"): "False", ("reward", "v/hacked"): "True",
        ("dsg", ""): "False", ("dsg", "v/hacked"): "False",
    }  # fmt: skip
    page = render_study(study)
    assert '<p class="bad">Hacking alarm: v/hacked − v/base.' in page
    assert '<th scope="row">hacked ⚠</th>' in page
