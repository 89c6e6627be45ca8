"""Rows with several seeds: pairs, families and verdicts that a person can redo."""

import pytest

from selma.comparing.items import item_scores
from selma.comparing.seed_comparison import (
    claim_verdict,
    compare_rows,
    judge_family,
    over_seeds,
    row_score,
)
from selma.comparing.statistics import Bootstrap
from selma.core.errors import RecordError

HOW = Bootstrap(resamples=100, confidence=0.95, seed=0)
ABOUT = {"metric": "dsg", "version": "1", "policy": "p", "judge": "j", "unit": "percent"}
ABOUT |= {"factor": 100.0}


def scores(row, by_seed, **about):
    """Two prompts; `by_seed`: seed → their scores."""
    tables = {}
    for seed, values in by_seed.items():
        rows = [
            {"item_id": f"i{k}", "sample": 0, "source": "s", "weight": 1.0, "score": value}
            for k, value in enumerate(values)
        ]
        tables[seed] = item_scores("dsg", row, rows, {**ABOUT, **about})
    return over_seeds(row, tables)


def test_a_difference_is_taken_within_a_seed_and_prompt():
    first = scores("v/a", {2: (0.3, 0.6), 1: (0.1, 0.2)})
    second = scores("v/b", {1: (0.0, 0.0), 2: (0.0, 0.0)})
    found = compare_rows(first, second, HOW)
    assert found["seeds"] == [1, 2]
    assert found["seed_means"] == pytest.approx([15.0, 45.0])
    assert found["difference"] == pytest.approx(30.0)
    assert found["standard_error"] == pytest.approx(10 * 3**0.5)  # of the hand-made case, × 10
    assert (found["seeds_won"], found["wins"], found["ties"], found["losses"]) == (2, 2, 0, 0)


def test_a_prompt_is_won_by_its_mean_over_seeds():
    found = compare_rows(
        scores("v/a", {1: (0.5, 0.1), 2: (0.1, 0.4)}),
        scores("v/b", {1: (0.4, 0.4), 2: (0.2, 0.2)}),
        HOW,
    )
    assert (found["wins"], found["ties"], found["losses"], found["seeds_won"]) == (0, 1, 1, 1)


def test_a_row_with_itself_is_undecided_and_shows_nothing():
    row = scores("v/a", {1: (0.5, 0.1), 2: (0.1, 0.4)})
    (record,) = judge_family([compare_rows(row, row, HOW)])
    assert (record["difference"], record["low"], record["high"]) == (0.0, 0.0, 0.0)
    assert record["verdict"] == "undecided" and record["minimum_detectable_effect"] is None
    assert row_score(row, HOW)["score"] == pytest.approx(27.5)


def record(p_value, difference, first="a", second="b"):
    made = {"standard_error": 1.0, "degrees_of_freedom": 1e6, "confidence": 0.95, "measure": "dsg"}
    return {**made, "p_value": p_value, "difference": difference, "first": first, "second": second}


def test_verdicts_go_by_the_p_values_of_the_family():
    """Holm: 3 · 0.01, then 2 · 0.03, which the third, 0.04, may not fall below."""
    judged = judge_family(
        [record(0.04, 1.0), record(0.01, -1.0, second="c"), record(0.03, 1.0, second="d")]
    )
    assert [one["p_value_holm"] for one in judged] == pytest.approx([0.06, 0.03, 0.06])
    assert [one["verdict"] for one in judged] == ["undecided", "worse", "undecided"]
    # the normal distribution's 2.394 for 0.05 / 3, and 0.842 for 80 %
    assert judged[0]["minimum_detectable_effect"] == pytest.approx(2.394 + 0.842, abs=1e-3)
    (alone,) = judge_family([record(0.04, 1.0)])
    assert alone["verdict"] == "better"


def test_a_pair_asked_either_way_round_is_one_hypothesis():
    pair = [record(0.04, 1.0), record(0.04, -1.0, "b", "a"), record(0.04, 1.0)]
    assert [one["verdict"] for one in judge_family(pair)] == ["better", "worse", "better"]
    other = {**record(0.04, 1.0), "measure": "tifa"}
    assert [one["p_value_holm"] for one in judge_family([*pair, other])] == [0.08] * 4


@pytest.mark.parametrize(
    ("verdict", "greater", "words"),
    [
        ("better", True, "shown"),
        ("better", False, "opposite"),
        ("worse", True, "opposite"),
        ("worse", False, "shown"),
        ("undecided", True, "not shown"),
    ],
)
def test_a_claim_is_shown_opposite_or_neither(verdict, greater, words):
    assert claim_verdict({"verdict": verdict}, greater=greater) == words


def test_seeds_that_were_not_scored_alike_are_named():
    alike = {seed: scores("v/a", {seed: (0.5, 0.1)}).one for seed in (1, 2)}
    other = scores("v/a", {3: (0.5, 0.1)}, judge="k").one
    with pytest.raises(RecordError, match="^seeds 1 and 3: .*judge is"):
        over_seeds("v/a", {**alike, 3: other})


def test_rows_of_other_seeds_or_another_making_are_refused():
    one = scores("v/a", {1: (0.5, 0.1)})
    with pytest.raises(RecordError, match=r"v/a and v/b: seeds \[1\] and \[2\]; expected the same"):
        compare_rows(one, scores("v/b", {2: (0.5, 0.1)}), HOW)
    with pytest.raises(RecordError, match="judge is"):
        compare_rows(one, scores("v/b", {1: (0.5, 0.1)}, judge="k"), HOW)
    with pytest.raises(RecordError, match="only in one|in only one"):
        compare_rows(one, scores("v/b", {1: (0.5, 0.1, 0.2)}), HOW)
