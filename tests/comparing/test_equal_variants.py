"""A variant compared with itself: how often scores like ours are told apart by chance alone.

A prompt's pictures answer 5 questions each, right with a chance of the prompt's own that differs
from training to training. So a score deviates by some 20 points within a prompt and by 19 between
prompts, as DSG of the pocket world, and trainings' means by 0.4, 1.1 or 5.6 (in docs/studies:
0.4 to 1.5).
"""

import numpy as np
import pytest

from selma.comparing.training_seeds import student_over_seeds

STUDIES, SEEDS, PROMPTS, QUESTIONS = 1000, 3, 300, 5


def draw_scores(chances, draws):
    """Draw percentages of right answers; chances are logits (S, N)."""
    return 100 * draws.binomial(QUESTIONS, 1 / (1 + np.exp(-chances))) / QUESTIONS


def trainings(of_training, draws):
    """How much better or worse each training is at each prompt, as logits (S, N)."""
    shared, own = draws.normal(size=(SEEDS, 1)), draws.normal(size=(SEEDS, PROMPTS))
    return of_training * shared + 0.3 * own


def told_apart(of_training, *, trained_again, seeds=SEEDS):
    """Count the share of A/A studies whose p is at most 5 %."""
    draws, weights, rejected = np.random.default_rng(12), np.ones(PROMPTS), 0
    for _ in range(STUDIES):
        prompts = 0.5 + draws.normal(size=(1, PROMPTS))
        first = prompts + trainings(of_training, draws)
        second = prompts + trainings(of_training, draws) if trained_again else first
        values = draw_scores(first, draws) - draw_scores(second, draws)
        found = student_over_seeds(values[:seeds], weights, 0.95)
        rejected += found.p_value <= 0.05
    return rejected / STUDIES


def test_the_scores_vary_as_ours_do():
    draws = np.random.default_rng(0)
    chances = np.repeat(0.5 + draws.normal(size=(1, 4000)), 2, axis=0)
    one, other = draw_scores(chances, draws)
    within = float(np.var(one - other) / 2)
    assert within**0.5 == pytest.approx(20, abs=2)
    assert (np.var(one) - within) ** 0.5 == pytest.approx(19, abs=2)


def test_other_sampling_seeds_alone_are_told_apart_at_5_percent():
    assert 0.03 <= told_apart(0.06, trained_again=False) <= 0.07


@pytest.mark.parametrize("of_training", [0.02, 0.06, 0.3])
def test_other_trainings_of_one_variant_are_told_apart_at_5_percent(of_training):
    assert 0.03 <= told_apart(of_training, trained_again=True) <= 0.07


def test_with_one_training_the_interval_covers_no_other():
    """So the table must say it: one seed's interval is over prompts alone."""
    assert told_apart(0.3, trained_again=True, seeds=1) > 0.5
