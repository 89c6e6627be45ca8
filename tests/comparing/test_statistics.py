"""Intervals are checked against closed forms and identities."""

import time

import numpy as np
import pytest

from selma.comparing.power import predicted_power
from selma.comparing.statistics import (
    Bootstrap,
    compare_paired,
    estimate_mean,
    standard_error,
)

HOW = Bootstrap(resamples=10_000, confidence=0.95, seed=1)


def normal(number, seed=0):
    return np.random.default_rng(seed).normal(size=number)


def test_the_interval_of_many_prompts_is_the_normal_one():
    values, ones = normal(2000), np.ones(2000)
    estimate = estimate_mean(values, ones, HOW)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert estimate.mean == values.mean()
    np.testing.assert_allclose(
        [estimate.low, estimate.high],
        [values.mean() - half, values.mean() + half],
        atol=0.05 * half,
    )


def test_a_system_against_itself_differs_by_exactly_nothing():
    values = normal(50)
    result = compare_paired(values, values.copy(), np.ones(50), HOW)
    assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)
    assert (result.wins, result.ties, result.losses, result.p_value) == (0, 50, 0, 1.0)


def test_a_constant_gain_moves_the_interval_by_that_constant():
    first, second, ones = normal(60), normal(60, seed=1), np.ones(60)
    plain = compare_paired(first, second, ones, HOW)
    moved = compare_paired(first + 3, second, ones, HOW)
    for name in ("difference", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name) + 3)


def test_pairing_removes_the_spread_between_prompts():
    hard_or_easy = 100 * normal(80)
    gain = 1 + 0.1 * normal(80, seed=1)
    result = compare_paired(hard_or_easy + gain, hard_or_easy, np.ones(80), HOW)
    assert 0.95 < result.low < result.high < 1.05


def test_the_sign_flip_p_value_of_five_equal_wins_is_two_in_thirty_two():
    result = compare_paired(np.ones(5), np.zeros(5), np.ones(5), HOW)
    assert abs(result.p_value - 2 / 32) < 0.01
    assert (result.wins, result.ties, result.losses) == (5, 0, 0)


def test_swapping_the_systems_swaps_wins_and_losses_and_keeps_the_p_value():
    first, second, ones = normal(40), normal(40, seed=2), np.ones(40)
    there = compare_paired(first, second, ones, HOW)
    back = compare_paired(second, first, ones, HOW)
    assert (there.wins, there.losses, there.p_value) == (back.losses, back.wins, back.p_value)
    np.testing.assert_allclose(there.difference, -back.difference)


def test_weights_count_a_prompt_as_that_many_questions():
    estimate = estimate_mean(np.array([1.0, 0.0]), np.array([3.0, 1.0]), HOW)
    assert estimate.mean == 0.75


def test_ninety_five_of_a_hundred_intervals_hold_the_truth():
    held = 0
    for seed in range(200):
        estimate = estimate_mean(normal(100, seed), np.ones(100), Bootstrap(500, 0.95, seed))
        held += estimate.low <= 0 <= estimate.high
    assert 180 <= held <= 199


def test_a_thousand_prompts_and_ten_thousand_resamples_take_less_than_two_seconds():
    values, ones = normal(1060), np.ones(1060)
    start = time.process_time()
    estimate_mean(values, ones, HOW)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize("number", [1, 7, 301])
@pytest.mark.parametrize("weight", ["ones", "questions"])
def test_the_random_numbers_are_one_stream_of_draws_whatever_the_chunks(number, weight):
    values = normal(number)
    weights = np.ones(number) if weight == "ones" else np.arange(1.0, number + 1)
    draws = np.random.default_rng(1).integers(0, number, size=(2000, number), dtype=np.int32)
    means = (values * weights)[draws].sum(axis=1) / weights[draws].sum(axis=1)
    estimate = estimate_mean(values, weights, Bootstrap(2000, 0.95, 1))
    ends = np.quantile(means, (0.025, 0.975))
    np.testing.assert_allclose([estimate.low, estimate.high], ends, rtol=1e-12)


def test_numbers_of_released_results_stay_as_they_are():
    index = np.arange(12)
    result = compare_paired(np.sqrt(index), (index % 5) / 2.0, 1.0 + index % 3, HOW)
    assert (result.low, result.high) == (0.7679363546063117, 2.033972692818743)
    assert (result.difference, result.p_value) == (1.4243166190725594, 25 / 10_001)


def test_a_prompt_is_drawn_whole_however_many_questions_it_has():
    values, sizes = 100 * (normal(40) > 0), np.arange(1, 41)
    by_prompt = estimate_mean(values.astype(float), sizes.astype(float), HOW)
    by_question = estimate_mean(np.repeat(values, sizes).astype(float), np.ones(sizes.sum()), HOW)
    assert by_prompt.mean == pytest.approx(by_question.mean)
    widths = [one.high - one.low for one in (by_prompt, by_question)]
    assert widths[0] > 3 * widths[1]  # all questions of a prompt agree, 20 on average


def test_the_standard_error_is_the_deviation_over_root_n_and_scales_with_neither_weight_nor_unit():
    values = normal(50)
    want = values.std(ddof=1) / np.sqrt(50)
    assert standard_error(values, np.ones(50)) == pytest.approx(want)
    assert standard_error(values, np.full(50, 7.0)) == pytest.approx(want)
    assert standard_error(np.ones(1), np.ones(1)) is None


def test_the_standard_error_of_a_weighted_mean_is_the_spread_of_its_bootstrap():
    values, weights = normal(400), 1.0 + np.arange(400) % 9
    estimate = estimate_mean(values, weights, HOW)
    spread = (estimate.high - estimate.low) / (2 * 1.96)
    assert standard_error(values, weights) == pytest.approx(spread, rel=0.05)


def test_a_margin_asks_whether_the_difference_is_larger_than_it_and_moves_no_interval():
    first, second, ones = 2.0 + normal(60), normal(60, seed=1), np.ones(60)
    plain = compare_paired(first, second, ones, HOW)
    beyond = compare_paired(first, second, ones, HOW, margin=1.8)
    moved = compare_paired(first - 1.8, second, ones, HOW)
    assert (beyond.difference, beyond.low) == (plain.difference, plain.low)
    assert beyond.p_value == moved.p_value > plain.p_value
    back = compare_paired(second, first, ones, HOW, margin=1.8)
    assert back.p_value == beyond.p_value
    assert compare_paired(first, second, ones, HOW, margin=5.0).p_value == 1.0


def test_sign_flips_move_each_prompt_with_its_weight():
    first, second = np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    result = compare_paired(first, second, np.array([3.0, 1.0, 1.0]), HOW)
    assert result.difference == pytest.approx(3 / 5)
    assert abs(result.p_value - 6 / 8) < 0.02  # of ±3 ±1 ±1, all but ±(3 − 1 − 1) reach 3


def test_differences_within_rounding_are_ties():
    near = compare_paired(np.array([0.1 + 0.2, 1.0]), np.array([0.3, 0.0]), np.ones(2), HOW)
    assert (near.wins, near.ties, near.losses) == (1, 1, 0)


def dsg_like(seed, gain, prompts=1060):
    """Draw (2, N) scores in percent of two models' pictures of prompts of different ease."""
    generator = np.random.default_rng((7, seed))
    questions = 1 + generator.negative_binomial(3.6, 0.35, prompts)
    ease = generator.beta(2.4, 0.6, prompts)
    eases = np.stack([ease + gain / 12 * ease * (1 - ease), ease])  # mean of ease (1 - ease): 0.12
    chances = generator.beta(4 * eases + 1e-9, 4 * (1 - eases) + 1e-9)
    return 100 * generator.binomial(questions, chances) / questions


def rejections(pairs):
    """Give the percentage of pairs that sign flips, and that intervals, tell apart."""
    found = []
    for seed, (first, second) in enumerate(pairs):
        ones = np.ones(len(first))
        result = compare_paired(first, second, ones, Bootstrap(300, 0.95, seed))
        low, high = result.low, result.high
        found.append((result.p_value <= 0.05, low > 0 or high < 0))
    return 100 * np.mean(found, axis=0)


def test_random_relabelings_of_one_run_are_told_apart_in_five_of_a_hundred():
    run = dsg_like(0, 0.0, prompts=100)
    swaps = np.random.default_rng(0).random((1000, 100)) < 0.5
    shares = rejections(np.where(swap, run, run[::-1]) for swap in swaps)
    assert (np.abs(shares - 5) <= 1.5).all(), shares


def test_a_gain_of_two_points_on_1060_prompts_is_found_as_often_as_predicted():
    pilot = dsg_like(0, 2.0, prompts=100_000)
    differences = pilot[0] - pilot[1]
    assert abs(differences.mean() - 2) < 0.2
    predicted = 100 * predicted_power(2.0, differences.std(), 1060, alpha=0.05)
    assert 40 < predicted < 90  # where a wrong prediction would show
    shares = rejections(dsg_like(1 + trial, 2.0) for trial in range(250))
    assert (np.abs(shares - predicted) <= 5).all(), (shares, predicted)
