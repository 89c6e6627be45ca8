"""Judges that differ in known ways; correlations are checked against SciPy, kappa by hand."""

import json

import numpy as np
import pytest
from scipy import stats

from selma.comparing.agreement import (
    cohens_kappa,
    conclusion,
    judge_means,
    judge_names,
    judge_pairs,
    judge_shifts,
    judged_tables,
    model_differences,
)
from selma.comparing.statistics import Bootstrap
from selma.core.errors import RecordError

BOOTSTRAP = Bootstrap(resamples=500, confidence=0.95, seed=0)
ABOUT = {
    "metric": "dsg", "version": "v", "policy": "official", "unit": "percent", "factor": 100.0,
    "benchmark": "b", "preprocessing": "none", "revision": "1",
}  # fmt: skip
PROMPTS, QUESTIONS = 60, 5


def answers(chance, seed):
    """Draw (prompts, samples, questions) right answers; each prompt has an ease of its own."""
    ease = np.random.default_rng(0).random((PROMPTS, 1, 1))
    drawn = np.random.default_rng(seed).random((PROMPTS, 2, QUESTIONS))
    return (drawn < chance * (0.5 + 0.5 * ease)).astype(int)


def table(judge, right, **about):
    rows = [
        {
            "item_id": f"i{item:02}",
            "sample": sample,
            "source": "s",
            "score": float(right[item, sample].mean()),
            "weight": 1.0,
            "details": json.dumps(
                {
                    "questions": [
                        {"question_id": number, "category": "c", "filtered": int(one), "raw": 1}
                        for number, one in enumerate(right[item, sample], start=1)
                    ]
                }
            ),
        }
        for item in range(PROMPTS)
        for sample in range(2)
    ]
    return rows, ABOUT | {"judge": judge} | about


def test_a_judge_agrees_with_its_copy_in_all_but_the_name():
    right = answers(0.8, 1)
    judged = judged_tables("m", [table("one", right), table("two", right)])
    (pair,) = judge_pairs(judged, BOOTSTRAP)
    assert (pair["first"], pair["second"]) == ("one@1", "two@1")
    assert (pair["difference"], pair["low"], pair["high"], pair["p_value"]) == (0, 0, 0, 1)
    assert (pair["pearson"], pair["spearman"]) == (pytest.approx(1), pytest.approx(1))
    assert (pair["equal_questions"], pair["kappa"], pair["n_questions"]) == (1, 1, 600)
    first, second = judge_means(judged, BOOTSTRAP)
    assert first["score"] == second["score"] == pytest.approx(100 * right.mean())
    assert (first["n_items"], first["n_pictures"], first["n_questions"]) == (60, 120, 600)


def test_correlations_are_over_prompts_and_kappa_over_questions():
    right, other = answers(0.8, 1), answers(0.8, 2)
    (pair,) = judge_pairs(judged_tables("m", [table("a", right), table("b", other)]), BOOTSTRAP)
    means = right.mean((1, 2)), other.mean((1, 2))
    assert pair["pearson"] == pytest.approx(stats.pearsonr(*means).statistic)
    assert pair["spearman"] == pytest.approx(stats.spearmanr(*np.round(means, 9)).statistic)
    assert pair["equal_questions"] == pytest.approx((right == other).mean())
    chance = right.mean() * other.mean() + (1 - right.mean()) * (1 - other.mean())
    assert pair["kappa"] == pytest.approx(((right == other).mean() - chance) / (1 - chance))
    assert pair["difference"] == pytest.approx(100 * (right.mean() - other.mean()))


def test_kappa_of_the_textbook_table_is_0_4():
    first = [1] * 25 + [0] * 25  # 20 both yes, 5 and 10 apart, 15 both no
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert cohens_kappa([1, 1], [1, 1]) is None
    assert cohens_kappa([1, 0], [0, 1]) == pytest.approx(-1)


def test_what_is_not_defined_is_none():
    always = np.ones((PROMPTS, 2, QUESTIONS), int)
    (pair,) = judge_pairs(judged_tables("m", [table("a", always), table("b", always)]), BOOTSTRAP)
    assert (pair["pearson"], pair["spearman"], pair["kappa"]) == (None, None, None)
    rows = [[row | {"details": "{}"} for row in table("x", always)[0]] for _ in range(2)]
    bare = [(rows[0], table("a", always)[1]), (rows[1], table("b", always)[1])]
    (pair,) = judge_pairs(judged_tables("m", bare), BOOTSTRAP)
    assert (pair["equal_questions"], pair["kappa"], pair["n_questions"]) == (None, None, 0)


def test_a_judge_that_hears_yes_always_hides_a_gain_and_the_shift_shows_it():
    good, bad = answers(1.0, 1), answers(0.7, 2)
    yes = np.ones_like(good)
    first = judged_tables("A", [table("fair", good), table("deaf", yes)])
    second = judged_tables("B", [table("deaf", yes), table("fair", bad)])  # in another order
    records = model_differences(first, second, BOOTSTRAP)
    assert [(r["judge"], r["verdict"]) for r in records] == [
        ("fair@1", "better"),
        ("deaf@1", "undecided"),
    ]
    assert conclusion(records) == "not all decided"
    (shift,) = judge_shifts(first, second, BOOTSTRAP)
    assert (shift["first"], shift["second"]) == ("fair@1", "deaf@1")
    assert shift["difference"] == pytest.approx(100 * (good.mean() - bad.mean()))
    assert shift["low"] > 0


def test_judges_that_contradict_each_other_reverse_the_conclusion():
    good, bad = answers(1.0, 1), answers(0.6, 2)
    first = judged_tables("A", [table("one", good), table("two", bad)])
    second = judged_tables("B", [table("one", bad), table("two", good)])
    records = model_differences(first, second, BOOTSTRAP)
    assert [record["verdict"] for record in records] == ["better", "worse"]
    assert conclusion(records) == "reversed"
    assert conclusion(records[:1] * 2) == "same"
    assert conclusion([records[0], {"verdict": "undecided"}]) == "not all decided"
    assert conclusion([{"verdict": "undecided"}] * 2) == "none decides"


def test_one_judge_with_two_settings_is_told_apart_by_them():
    abouts = [
        {"judge": "mplug", "revision": "1", "judge_settings": {"dtype": dtype, "beams": 5}}
        for dtype in ("float32", "bfloat16")
    ]
    assert judge_names(abouts) == ["mplug@1 (dtype=float32)", "mplug@1 (dtype=bfloat16)"]
    assert judge_names([*abouts, {"judge": "blip2", "revision": ""}])[2] == "blip2"
    with pytest.raises(RecordError, match="'mplug@1' judged twice"):
        judge_names([abouts[0], abouts[0]])


def test_scores_that_differ_in_more_than_the_judge_are_refused():
    right = answers(0.8, 1)
    with pytest.raises(RecordError, match=r'policy is "official" and "selma"'):
        judged_tables("m", [table("a", right), table("b", right, policy="selma")])
    rows, about = table("b", right)
    with pytest.raises(
        RecordError, match="1 pictures are scored by only one of them.*'i59' sample 1"
    ):
        judged_tables("m", [table("a", right), (rows[:-1], about)])
    with pytest.raises(RecordError, match="120 questions are answered by only one of them"):
        judged_tables("m", [table("a", right), table("b", right[:, :, :-1])])


def test_both_models_need_the_same_judges():
    right = answers(0.8, 1)
    first = judged_tables("A", [table("a", right), table("b", right)])
    second = judged_tables("B", [table("a", right), table("c", right)])
    with pytest.raises(RecordError, match="judged only one of the two models"):
        model_differences(first, second, BOOTSTRAP)


def test_a_rater_that_gives_one_label_agrees_by_chance_alone_with_one_that_gives_two():
    assert cohens_kappa([1, 1], [1, 0]) == 0
    assert cohens_kappa([1, 0], [1, 1]) == 0
