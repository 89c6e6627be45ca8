"""Votes are checked against the paper's counts, SciPy's tests and numbers made by hand."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from selma.comparing.votes import (
    Votes,
    half_tie_interval,
    judge_votes,
    sign_test,
    wilson_interval,
)
from selma.core.errors import ConfigError

PAPER = Path(__file__).parents[2].parent / "shared/data/eval/selma_paper_tables.json"
ALL = Votes("All", 241, 114, 245)  # arXiv 2403.06952, Table 8


def result(votes=ALL, votes_per_prompt=3):
    return judge_votes([votes], confidence=0.95, votes_per_prompt=votes_per_prompt)[0]


def ends(record, name, kind=""):
    return record[f"{name}_low{kind}"], record[f"{name}_high{kind}"]


def test_the_papers_votes_are_68_percent_wins_without_ties_and_61_with_half_of_them():
    found = result()
    assert 100 * found["win_share"] == pytest.approx(67.8873, abs=5e-5)  # 241 / 355
    assert 100 * found["half_tie_share"] == pytest.approx(60.5833, abs=5e-5)  # 363.5 / 600


def test_the_interval_of_the_wins_is_wilsons():
    want = stats.binomtest(241, 355).proportion_ci(method="wilson")
    assert ends(result(), "win_share") == pytest.approx((want.low, want.high), abs=1e-12)
    low, high = wilson_interval(0.0, 10, 0.95)
    assert (low, high) == pytest.approx((0.0, 0.2775), abs=5e-5)  # z² / (n + z²)


def test_the_interval_with_half_ties_is_the_normal_one_of_the_votes_worth():
    worth = np.repeat([1.0, 0.5, 0.0], [241, 245, 114])
    half = stats.norm.isf(0.025) * worth.std() / np.sqrt(600)
    share, got = result()["half_tie_share"], ends(result(), "half_tie_share")
    assert got == pytest.approx((share - half, share + half), abs=1e-12)
    assert [round(100 * end, 2) for end in got] == [57.62, 63.54]


def test_votes_of_a_prompt_that_always_agree_are_one_vote_a_prompt():
    one = Votes("one person", 80, 40, 80)
    three = Votes("three persons who agree", 240, 120, 240)
    single, tripled = result(one, 1), result(three, 3)
    for name in ("win_share", "half_tie_share"):
        assert ends(tripled, name, "_dependent") == pytest.approx(ends(single, name))
    wide, narrow = (ends(tripled, "half_tie_share", kind) for kind in ("_dependent", ""))
    assert wide[1] - wide[0] == pytest.approx(np.sqrt(3) * (narrow[1] - narrow[0]))


def test_without_votes_per_prompt_there_is_no_wider_interval():
    found = result(votes_per_prompt=None)
    assert ends(found, "win_share", "_dependent") == (None, None)
    assert ends(found, "half_tie_share", "_dependent") == (None, None)


@pytest.mark.parametrize(("win", "lose"), [(241, 114), (6, 5), (35, 2), (7, 7), (0, 1), (900, 800)])
def test_the_sign_test_is_the_exact_binomial_one(win, lose):
    assert sign_test(win, lose) == pytest.approx(stats.binomtest(win, win + lose).pvalue, rel=1e-9)
    assert sign_test(win, lose) == sign_test(lose, win)


def test_the_sign_test_of_the_papers_votes_is_the_sum_of_the_tail():
    tail = sum(math.comb(355, count) for count in range(241, 356))
    assert sign_test(241, 114) == pytest.approx(float(Fraction(2 * tail, 2**355)), rel=1e-12)
    assert f"{sign_test(241, 114):.1e}" == "1.4e-11"


def test_the_sign_test_of_many_votes_is_the_exact_one_and_takes_no_time():
    assert sign_test(12_000, 8_000) == pytest.approx(stats.binomtest(12_000, 20_000).pvalue)
    assert sign_test(300_000, 200_000) == 0.0  # 1e-4376
    win, lose = 500_000_500, 499_999_500  # z of 999 / √1e9, with the correction for continuity
    assert sign_test(win, lose) == pytest.approx(2 * stats.norm.sf(999 / 1e9**0.5), rel=1e-6)


def test_five_wins_of_five_have_the_p_value_two_in_thirty_two():
    assert sign_test(5, 0) == 2 / 32


def test_only_ties_say_nothing():
    found = result(Votes("ties", 0, 0, 12))
    assert (found["win_share"], *ends(found, "win_share", "_dependent")) == (None, None, None)
    assert (found["half_tie_share"], found["p_value"]) == (0.5, 1.0)
    low, high = ends(found, "half_tie_share")
    assert low < 0.3 < 0.7 < high  # not [0.5, 0.5]: twelve ties are no certainty


def test_one_win_of_one_leaves_a_wide_interval():
    low, high = half_tie_interval(Votes("one", 1, 0, 0), 1, 0.95)
    assert (low < 0.3, high) == (True, 1.0)


def test_the_confidence_decides_the_width():
    wide = judge_votes([ALL], confidence=0.99, votes_per_prompt=None)[0]
    want = stats.binomtest(241, 355).proportion_ci(0.99, method="wilson")
    assert ends(wide, "win_share") == pytest.approx((want.low, want.high), abs=1e-12)
    width = np.diff(ends(wide, "half_tie_share")) / np.diff(ends(result(), "half_tie_share"))
    assert width == pytest.approx(stats.norm.isf(0.005) / stats.norm.isf(0.025))


def test_holm_adjusts_the_skills_and_leaves_the_row_of_all_votes():
    rows = [ALL, Votes("count", 26, 11, 17), Votes("whoops", 21, 10, 26)]
    found = {one["name"]: one for one in judge_votes(rows, confidence=0.95, votes_per_prompt=3)}
    assert found["All"]["p_value_holm"] == found["All"]["p_value"]
    assert found["count"]["p_value_holm"] == 2 * found["count"]["p_value"]
    assert found["whoops"]["p_value_holm"] == max(
        2 * found["count"]["p_value"], found["whoops"]["p_value"]
    )


@pytest.mark.parametrize(
    ("rows", "per_prompt", "words"),
    [
        ([Votes("x", 0, 0, 0)], 3, "'x': expected counts of at least 0 and one vote"),
        ([Votes("x", 3, -1, 0)], 3, "lose -1"),
        ([ALL, ALL], 3, "a name occurs twice"),
        ([ALL], 0, "expected at least 1, got 0"),
    ],
)
def test_impossible_counts_are_refused(rows, per_prompt, words):
    with pytest.raises(ConfigError, match=words):
        judge_votes(rows, confidence=0.95, votes_per_prompt=per_prompt)


def test_table_8_of_the_paper_gives_a_clear_win_over_all_and_on_all_but_one_source():
    if not PAPER.exists():
        pytest.skip("the paper's tables are not here: shared/data/eval/selma_paper_tables.json")
    table = json.loads(PAPER.read_text())["table8_human_votes_sdxl_selma_vs_sdxl"]
    rows = [Votes(name, *counts) for name, counts in table["rows"].items()]
    found = judge_votes(rows, confidence=0.95, votes_per_prompt=table["annotators_per_prompt"])
    shares = {one["name"]: round(100 * one["win_share"], 1) for one in found}
    assert shares == {
        "All": 67.9, "Localized Narratives": 79.2, "DiffusionDB": 54.5, "CountBench": 70.3,
        "COCO": 94.6, "Whoops": 67.7,
    }  # fmt: skip
    sure = {one["name"] for one in found if one["win_share_low_dependent"] > 0.5}
    assert sure == {"All", "COCO"}
    assert {one["name"] for one in found if one["win_share_low"] <= 0.5} == {"DiffusionDB"}
