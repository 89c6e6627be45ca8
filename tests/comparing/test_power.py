"""Predicted power and least detectable differences are checked against SciPy and each other."""

import math

import numpy as np
import pytest
from scipy import stats

from selma.comparing.power import describe_power, minimum_detectable_effect, predicted_power
from selma.comparing.statistics import holm
from selma.core.errors import ConfigError


def test_the_power_is_the_normal_tail_beyond_the_two_limits():
    limit, shift = stats.norm.isf(0.025), 2.0 / (30 / math.sqrt(1060))
    want = stats.norm.sf(limit - shift) + stats.norm.cdf(-limit - shift)
    assert predicted_power(2.0, 30.0, 1060, alpha=0.05) == pytest.approx(want, abs=1e-12)
    assert predicted_power(-2.0, 30.0, 1060, alpha=0.05) == pytest.approx(want, abs=1e-12)


def test_no_effect_is_found_with_the_chance_alpha():
    assert predicted_power(0.0, 30.0, 1060, alpha=0.05) == pytest.approx(0.05)
    assert predicted_power(1.0, 0.0, 10, alpha=0.05) == 1.0
    assert predicted_power(0.0, 0.0, 10, alpha=0.05) == 0.0


def test_the_textbook_factor_for_eighty_percent_power_is_2_8():
    assert minimum_detectable_effect(10.0, 100, alpha=0.05) == pytest.approx(2.8016, abs=1e-4)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
def test_the_detectable_effect_has_the_power_it_was_asked_for(power, alpha):
    effect = minimum_detectable_effect(25.5, 1060, alpha=alpha, power=power)
    assert predicted_power(effect, 25.5, 1060, alpha=alpha) == pytest.approx(power, abs=1e-4)


def test_the_note_of_one_run_names_its_standard_error_and_what_it_can_tell_apart():
    note = describe_power(25.487441, 1060, alpha=0.05)  # InstructBLIP's DSG scores of SD v2.1
    assert note.standard_error == pytest.approx(0.7828, abs=1e-4)
    assert note.half_width == pytest.approx(1.96 * note.standard_error, rel=1e-4)
    assert note.from_other_prompts == pytest.approx(math.sqrt(2) * note.from_a_number)
    assert "standard error 0.78 points" in note.sentence("points")
    assert "2.19 to a fixed number and of 3.10 between two models" in note.sentence("points")


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="alpha in"):
        predicted_power(1.0, 1.0, 10, alpha=0.0)
    with pytest.raises(ConfigError, match="at least 1 prompt"):
        minimum_detectable_effect(1.0, 0, alpha=0.05)
    assert minimum_detectable_effect(1.0, 1, alpha=0.05) > 0


def test_holm_multiplies_the_least_by_the_number_the_next_by_one_less_and_never_descends():
    adjusted = holm([0.03, 0.01, 0.04, 0.5])
    np.testing.assert_allclose(adjusted, [0.09, 0.04, 0.09, 0.5])  # 3·0.03, 4·0.01, 2·0.04 → 0.09
    assert holm([]) == []
    assert holm([0.4, 0.7]) == [0.8, 0.8]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_errs_on_any_of_twenty_true_hypotheses_in_five_of_a_hundred():
    p_values = np.random.default_rng(0).random((2000, 20))
    wrong = np.mean([min(holm(row.tolist())) <= 0.05 for row in p_values])
    assert abs(wrong - 0.05) < 0.015
