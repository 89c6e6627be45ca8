"""The hacking alarm: when it is given, and how often by chance."""

import numpy as np
import pytest

from selma.comparing.hacking import hacking_mark
from selma.comparing.seed_comparison import judge_family
from selma.comparing.training_seeds import student_over_seeds

JUDGES = {"reward": "imagereward", "dsg": "pixels", "tifa": "pixels", "pick": "pickscore"}
TRAINED = ("reward",)


def difference(value, half=1.0, judge="j", *, decided=None):
    """A difference with its interval; decided where the interval says so, if not told otherwise."""
    low, high = value - half, value + half
    verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
    verdict = verdict if decided is None or decided else "undecided"
    return {"judge": judge, "low": low, "high": high, "verdict": verdict}


def given(**values):
    """A difference for each measure, by the judge of `JUDGES`."""
    return {
        name: difference(*(value if isinstance(value, tuple) else (value,)), judge=JUDGES[name])
        for name, value in values.items()
    }


def test_a_decided_rise_and_a_decided_fall_are_an_alarm():
    found = hacking_mark(given(reward=2, dsg=-2, tifa=0, pick=-0.5), TRAINED)
    assert found == {
        "mark": "alarm", "trained_against": ["reward"], "independent": ["dsg", "tifa", "pick"],
        "risen": ["reward"], "fallen": ["dsg"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        {"reward": 2, "dsg": 2},  # both rise
        {"reward": -2, "dsg": -2},  # both fall: the model is bad, not hacked
        {"reward": -2, "dsg": 2},
        {"reward": 0.9, "dsg": -0.9},  # both only point that way
        {"reward": 2, "dsg": -0.9},
        {"reward": 0.9, "dsg": -2},
    ],
)
def test_anything_else_is_quiet(values):
    found = hacking_mark(given(**values), TRAINED)
    assert (found["mark"], found["risen"], found["fallen"]) == ("quiet", [], [])


def test_intervals_that_part_but_are_not_decided_together_are_to_be_watched():
    both = {"reward": difference(2, judge="r"), "dsg": difference(-2, judge="d", decided=False)}
    found = hacking_mark(both, TRAINED)
    assert (found["mark"], found["risen"], found["fallen"]) == ("watch", ["reward"], ["dsg"])


def test_a_measure_of_the_same_judge_is_not_independent():
    found = hacking_mark(given(dsg=2, tifa=-2), ("dsg",))
    assert (found["mark"], found["independent"]) == ("unwatched", [])
    assert hacking_mark(given(dsg=2, tifa=-2, pick=0), ("dsg",))["mark"] == "quiet"
    assert hacking_mark(given(dsg=2, tifa=-2, pick=-2), ("dsg",))["fallen"] == ["pick"]


def test_what_the_other_model_was_trained_against_is_not_independent():
    """That one's score was raised by its training; to be below it is no fall."""
    found = hacking_mark(given(reward=2, pick=-2, dsg=0), TRAINED, ("pick",))
    assert (found["mark"], found["independent"]) == ("quiet", ["dsg"])


def studies(number, effects, draws, seeds=3):
    """Mark so many studies, seeds × 100 prompts, of the true differences given."""
    marks, weights = [], np.ones(100)
    for _ in range(number):
        luck, prompts = draws.normal(size=(4, seeds, 1)), draws.normal(size=(4, 1, 100))
        values = 0.05 * luck + 0.5 * prompts + draws.normal(size=(4, seeds, 100))
        family = []
        for (name, judge), effect, own in zip(JUDGES.items(), effects, values, strict=True):
            estimate = student_over_seeds(own + effect, weights, 0.95)._asdict()
            about = {"name": name, "judge": judge, "confidence": 0.95}
            about |= {"measure": name, "first": "new", "second": "base"}
            family.append({**about, **estimate, "difference": estimate["mean"]})
        judged = {record["name"]: record for record in judge_family(family)}
        marks.append(hacking_mark(judged, TRAINED)["mark"])
    return marks


@pytest.mark.parametrize(
    "effects",
    [(0, 0, 0, 0), (1, 0, 0, 0), (0, -1, -1, -1), (1, 1, 1, 1)],
    ids=["nothing changes", "the reward alone rises", "the others alone fall", "all rise"],
)
def test_a_false_alarm_is_rarer_than_5_percent_whatever_else_is_true(effects):
    marks = studies(300, effects, np.random.default_rng(3))
    assert marks.count("alarm") / len(marks) <= 0.05
    assert marks.count("watch") / len(marks) <= 0.10


@pytest.mark.parametrize(
    ("effects", "seeds"), [((1, -0.6, -0.6, -0.6), 3), ((0.6, -0.6, 0, 0), 5)], ids=str
)
def test_plain_hacking_is_found(effects, seeds):
    """The standard error is about 0.08, so these are changes of seven of it."""
    marks = studies(200, effects, np.random.default_rng(4), seeds)
    assert marks.count("alarm") / len(marks) >= 0.8
    assert marks.count("quiet") == 0
