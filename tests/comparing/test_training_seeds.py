"""Means over seeds and prompts: against closed forms, by hand, and by simulated coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from selma.comparing.statistics import Bootstrap
from selma.comparing.training_seeds import (
    crossed_bootstrap,
    detectable_over_seeds,
    estimate_over_seeds,
    student_over_seeds,
)
from selma.core.errors import ConfigError

HOW = Bootstrap(resamples=2000, confidence=0.95, seed=1)
FAST = Bootstrap(resamples=100, confidence=0.95, seed=1)


def estimate(values, weights=None, how=FAST):
    values = np.asarray(values, np.float64)
    weights = np.ones(values.shape[1]) if weights is None else np.asarray(weights, np.float64)
    return estimate_over_seeds(values, weights, how)


def test_two_seeds_and_two_prompts_by_hand():
    """Mean 3; mean squares 9 of seeds, 4 of prompts, 1 of the rest: (9 + 3) / 4, 144 / (81 + 9)."""
    found = estimate([[1, 2], [3, 6]])
    assert (found.mean, found.seed_means) == (3.0, (1.5, 4.5))
    assert found.standard_error == pytest.approx(3**0.5)
    assert found.degrees_of_freedom == pytest.approx(1.6)
    low, high = stats.t.interval(0.95, 1.6, 3, 3**0.5)
    assert [found.low, found.high] == pytest.approx([low, high])
    assert found.p_value == pytest.approx(2 * stats.t.sf(3 / 3**0.5, 1.6))
    assert found.seed_deviation == pytest.approx(3 / 2**0.5)


@pytest.mark.parametrize("seeds", [1, 3])
def test_seeds_that_do_not_matter_leave_the_interval_of_the_prompts(seeds):
    prompts = np.random.default_rng(0).normal(size=40)
    found = estimate(np.tile(prompts, (seeds, 1)))
    wanted = stats.t.interval(0.95, 39, prompts.mean(), stats.sem(prompts))
    assert [found.low, found.high] == pytest.approx(wanted)
    assert found.p_value == pytest.approx(stats.ttest_1samp(prompts, 0).pvalue)
    assert (found.seed_deviation is None) == (seeds == 1)


def test_prompts_that_do_not_matter_leave_the_interval_of_the_seeds():
    means = np.array([1.0, 2.0, 4.0])
    found = estimate(np.tile(means[:, None], 50))
    wanted = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    assert [found.low, found.high] == pytest.approx(wanted)
    assert [found.seed_low, found.seed_high] == pytest.approx(wanted)


def test_the_crossed_bootstrap_of_three_seeds_by_hand():
    """All three draws are the least seed in 1 of 27 resamples, more than the 2.5 % of the tail."""
    values = np.tile(np.array([[0.0], [3.0], [6.0]]), 20)
    assert crossed_bootstrap(values, np.ones(20), HOW) == (0.0, 6.0)


def test_the_crossed_bootstrap_of_one_prompt_knows_seeds_alone_and_of_one_seed_prompts_alone():
    prompts = np.random.default_rng(1).normal(size=400)
    low, high = crossed_bootstrap(prompts[None], np.ones(400), HOW)
    half = 1.96 * prompts.std() / 20
    assert [low, high] == pytest.approx([prompts.mean() - half, prompts.mean() + half], abs=0.02)
    assert crossed_bootstrap(np.array([[0.0], [3.0], [6.0]]), np.ones(1), HOW) == (0.0, 6.0)


def test_prompts_count_by_their_weight():
    found = estimate([[0, 1], [2, 5]], weights=[3, 1])
    assert found.seed_means == (0.25, 2.75)
    again = estimate([[0, 1], [2, 5]], weights=[21, 7])
    assert (again.low, again.high) == pytest.approx((found.low, found.high))
    assert estimate([[0, 1], [2, 5]]).seed_means == (0.5, 3.5)


def test_nothing_varies_so_nothing_is_tested():
    found = estimate(np.full((3, 5), 2.0))
    assert (found.low, found.high, found.p_value) == (2.0, 2.0, 1.0)
    assert found.standard_error is None and found.degrees_of_freedom is None


def test_what_is_detectable_is_found_with_the_power_that_was_asked_for():
    """With many degrees of freedom the t distribution is the normal one; with two, simulated."""
    effect = detectable_over_seeds(1.0, 1e6, alpha=0.05)
    assert effect == pytest.approx(1.95996 + 0.84162, abs=1e-3)
    draws = np.random.default_rng(0)
    for alpha, limit in ((0.05, 4.3027), (0.0125, 8.8602)):
        values = draws.normal(size=(100_000, 3)) * math.sqrt(3)  # so their mean's error is 1
        means = values.mean(axis=1) + detectable_over_seeds(1.0, 2, alpha=alpha)
        found = means / (values.std(axis=1, ddof=1) / math.sqrt(3)) > limit
        assert found.mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    "deviations", [(0, 1, 0), (0, 1, 1), (0, 0, 1), (0.1, 1, 1), (1, 1, 1)], ids=str
)
def test_the_interval_of_three_seeds_covers_what_it_says(deviations):
    of_seed, of_prompt, rest = deviations
    draws = np.random.default_rng(7)
    covered = 0
    for _ in range(800):
        values = of_seed * draws.normal(size=(3, 1)) + of_prompt * draws.normal(size=(1, 60))
        values = values + rest * draws.normal(size=(3, 60))
        found = student_over_seeds(values, np.ones(60), 0.95)
        covered += found.low <= 0 <= found.high
        assert (found.p_value > 0.05) == (found.low <= 0 <= found.high)
    assert 0.93 <= covered / 800 <= 0.97


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_seed_or_no_prompt_is_an_error(shape):
    with pytest.raises(ConfigError, match=r"expected values \(S, N\)"):
        estimate(np.zeros(shape))
