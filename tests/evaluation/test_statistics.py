"""Intervals are checked against closed forms and identities."""

import time

import numpy as np

from selma.evaluation.statistics import compare_paired, estimate_mean

SETTINGS = {"resamples": 10_000, "confidence": 0.95, "seed": 1}


def normal(number, seed=0):
    return np.random.default_rng(seed).normal(size=number)


def test_the_interval_of_many_prompts_is_the_normal_one():
    values, ones = normal(2000), np.ones(2000)
    estimate = estimate_mean(values, ones, **SETTINGS)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert estimate.mean == values.mean()
    np.testing.assert_allclose(
        [estimate.low, estimate.high],
        [values.mean() - half, values.mean() + half],
        atol=0.05 * half,
    )


def test_a_system_against_itself_differs_by_exactly_nothing():
    values = normal(50)
    result = compare_paired(values, values.copy(), np.ones(50), **SETTINGS)
    assert (result.estimate.mean, result.estimate.low, result.estimate.high) == (0.0, 0.0, 0.0)
    assert (result.wins, result.ties, result.losses, result.p_value) == (0, 50, 0, 1.0)


def test_a_constant_gain_moves_the_interval_by_that_constant():
    first, second, ones = normal(60), normal(60, seed=1), np.ones(60)
    plain = compare_paired(first, second, ones, **SETTINGS).estimate
    moved = compare_paired(first + 3, second, ones, **SETTINGS).estimate
    np.testing.assert_allclose(
        [moved.mean, moved.low, moved.high], np.array([plain.mean, plain.low, plain.high]) + 3
    )


def test_pairing_removes_the_spread_between_prompts():
    hard_or_easy = 100 * normal(80)
    gain = 1 + 0.1 * normal(80, seed=1)
    result = compare_paired(hard_or_easy + gain, hard_or_easy, np.ones(80), **SETTINGS)
    assert 0.95 < result.estimate.low < result.estimate.high < 1.05


def test_the_sign_flip_p_value_of_five_equal_wins_is_two_in_thirty_two():
    result = compare_paired(np.ones(5), np.zeros(5), np.ones(5), **SETTINGS)
    assert abs(result.p_value - 2 / 32) < 0.01
    assert (result.wins, result.ties, result.losses) == (5, 0, 0)


def test_swapping_the_systems_swaps_wins_and_losses_and_keeps_the_p_value():
    first, second, ones = normal(40), normal(40, seed=2), np.ones(40)
    there = compare_paired(first, second, ones, **SETTINGS)
    back = compare_paired(second, first, ones, **SETTINGS)
    assert (there.wins, there.losses, there.p_value) == (back.losses, back.wins, back.p_value)
    np.testing.assert_allclose(there.estimate.mean, -back.estimate.mean)


def test_weights_count_a_prompt_as_that_many_questions():
    estimate = estimate_mean(np.array([1.0, 0.0]), np.array([3.0, 1.0]), **SETTINGS)
    assert estimate.mean == 0.75


def test_ninety_five_of_a_hundred_intervals_hold_the_truth():
    held = 0
    for seed in range(200):
        estimate = estimate_mean(
            normal(100, seed), np.ones(100), resamples=500, confidence=0.95, seed=seed
        )
        held += estimate.low <= 0 <= estimate.high
    assert 180 <= held <= 199


def test_a_thousand_prompts_and_ten_thousand_resamples_take_less_than_two_seconds():
    values, ones = normal(1060), np.ones(1060)
    start = time.process_time()
    estimate_mean(values, ones, **SETTINGS)
    assert time.process_time() - start < 2.0
