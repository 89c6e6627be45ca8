"""Prints how often the tests of a comparison err, how often they find a gain, and their speed."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from selma.comparing.power import predicted_power
from selma.comparing.statistics import Bootstrap, compare_paired, estimate_mean

Floats = NDArray[np.float64]

PROMPTS = 1060  # as DSG-1k has
ALPHA = 0.05
GAIN = 2.0  # points
QUESTIONS = (3.6, 0.35, 52)  # shape, chance and limit; gives DSG-1k's mean of 7.7, deviation of 4.4
EASE = (2.4, 0.6)  # of prompts: a mean score of 80 %
AGREEMENT = 4.0  # of the pictures of one prompt; more is more alike
PILOT_PROMPTS = 200_000


@dataclass(frozen=True)
class Rejections:
    """Share of comparisons in which a test finds a difference."""

    sign_flip: float
    interval: float


def simulate_pair(prompts: int, gain: float, generator: np.random.Generator) -> Floats:
    """Draw DSG-like scores of two models on the same prompts.

    A prompt has its number of questions and its ease; a picture of it gets each question right with
    a chance drawn around the ease.

    Args:
        prompts: how many.
        gain: how much better the first model's mean is, in points.
        generator: of all that is drawn.

    Returns:
        (2, N) in percent: one picture's score of each model.
    """
    shape, chance, limit = QUESTIONS
    asked = np.clip(1 + generator.negative_binomial(shape, chance, prompts), 1, limit)  # (N,)
    ease = generator.beta(*EASE, prompts)
    first, second = EASE
    room = first * second / ((first + second) * (first + second + 1))  # mean of ease (1 - ease)
    eases = np.stack([ease + gain / 100 / room * ease * (1 - ease), ease])  # (2, N)
    right = generator.beta(AGREEMENT * eases + 1e-9, AGREEMENT * (1 - eases) + 1e-9)
    scores: Floats = 100 * generator.binomial(asked, right) / asked
    return scores


def count_rejections(draw: Callable[[int], Floats], trials: int, resamples: int) -> Rejections:
    """Compare two models many times.

    Args:
        draw: gives the scores (2, N) of a trial.
        trials: how often.
        resamples: of each comparison.
    """
    by_sign_flip = by_interval = 0
    for trial in range(trials):
        first, second = draw(trial)
        how = Bootstrap(resamples, 1 - ALPHA, trial)
        result = compare_paired(first, second, np.ones(len(first)), how)
        by_sign_flip += result.p_value <= ALPHA
        by_interval += result.low > 0 or result.high < 0
    return Rejections(by_sign_flip / trials, by_interval / trials)


def best_time(work: Callable[[], object], repeats: int = 5) -> float:
    """Measure the least seconds of a few repetitions."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def print_false_alarms(trials: int, resamples: int) -> None:
    """Relabel the pictures of one simulated run at random: nothing is there to be found."""
    run = simulate_pair(PROMPTS, 0.0, np.random.default_rng(0))

    def relabel(trial: int) -> Floats:
        swap = np.random.default_rng(trial).random(PROMPTS) < 0.5
        return np.where(swap, run, run[::-1])

    found = count_rejections(relabel, trials, resamples)
    print(f"A/A, {trials} random relabelings of one run, {PROMPTS} prompts, % rejected:")
    print(f"  sign flips {100 * found.sign_flip:.1f}, interval {100 * found.interval:.1f}", end="")
    print(f"  (wanted: {100 * ALPHA:g} ± 1.5)")


def print_power(trials: int, resamples: int) -> None:
    """Simulate a gain and compare how often it is found with the prediction."""
    pilot = simulate_pair(PILOT_PROMPTS, GAIN, np.random.default_rng(1))
    differences = pilot[0] - pilot[1]
    spread = float(differences.std())
    predicted = predicted_power(GAIN, spread, PROMPTS, alpha=ALPHA)
    found = count_rejections(
        lambda trial: simulate_pair(PROMPTS, GAIN, np.random.default_rng((2, trial))),
        trials,
        resamples,
    )
    print(
        f"A gain of {GAIN:g} points on {PROMPTS} prompts (in the pilot {differences.mean():.2f}, "
        f"deviation over prompts {pilot[1].std():.1f}, of paired differences {spread:.1f}), "
        f"{trials} trials, % found:"
    )
    print(f"  sign flips {100 * found.sign_flip:.1f}, interval {100 * found.interval:.1f}", end="")
    print(f"  (predicted: {100 * predicted:.1f}; wanted: within 5)")


def print_speed() -> None:
    """Time intervals and tests against SciPy's, in this process and on the same values."""
    first, second = simulate_pair(PROMPTS, GAIN, np.random.default_rng(3))
    ones, how = np.ones(PROMPTS), Bootstrap(10_000, 1 - ALPHA, 0)
    common = {"n_resamples": how.resamples, "batch": 1000}

    def interval() -> tuple[float, float]:
        found = stats.bootstrap(
            (first,), np.mean, method="percentile", confidence_level=how.confidence,
            rng=np.random.default_rng(0), **common,
        )  # fmt: skip
        return tuple(found.confidence_interval)

    weights = 1.0 + np.arange(PROMPTS) % 9

    def weighted_interval() -> tuple[float, float]:
        found = stats.bootstrap(
            (first, weights), lambda v, w, axis: (v * w).sum(axis) / w.sum(axis), paired=True,
            method="percentile", confidence_level=how.confidence, rng=np.random.default_rng(0),
            **common,
        )  # fmt: skip
        return tuple(found.confidence_interval)

    def sign_flips() -> float:
        found = stats.permutation_test(
            (first - second,), np.mean, permutation_type="samples", vectorized=True,
            rng=np.random.default_rng(0), **common,
        )  # fmt: skip
        return float(found.pvalue)

    ours, theirs = estimate_mean(first, ones, how), interval()
    pair = compare_paired(first, second, ones, how)
    print(f"{PROMPTS} prompts × {how.resamples:,} resamples, seconds (best of 5); ours, SciPy's:")
    for name, mine, other, numbers in (
        ("interval of a mean", lambda: estimate_mean(first, ones, how), interval,
         f"[{ours.low:.2f}, {ours.high:.2f}] and [{theirs[0]:.2f}, {theirs[1]:.2f}]"),
        ("interval of a weighted mean", lambda: estimate_mean(first, weights, how),
         weighted_interval, ""),
        ("paired difference: interval and sign flips; SciPy: sign flips",
         lambda: compare_paired(first, second, ones, how), sign_flips,
         f"p = {pair.p_value:.4f} and {sign_flips():.4f}"),
    ):  # fmt: skip
        fast, slow = best_time(mine), best_time(other)
        print(f"  {name} {fast:.3f}, {slow:.3f} (ratio {slow / fast:.1f}) {numbers}")


def main() -> None:
    """Print false alarms, power and speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=2000)
    args = parser.parse_args()
    print_false_alarms(args.trials, args.resamples)
    print_power(args.trials, args.resamples)
    print_speed()


if __name__ == "__main__":
    main()
