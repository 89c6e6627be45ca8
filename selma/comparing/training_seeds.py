"""What a mean over prompts is worth when the training was repeated with several seeds.

Seeds and prompts are crossed: every seed's model is scored on all prompts, so a value is
x_si = μ + a_s + b_i + e_si, with a the luck of a training, b what is particular to a prompt and e
the rest, also the noise of drawing. The variance of the mean, σa²/S + σb²/N + σe²/(SN), is
estimated from mean squares and the interval is Student's, with the degrees of freedom that few
seeds allow: the analysis of readers and cases by Dorfman, Berbaum and Metz (1992) with the degrees
of freedom of Hillis (2007, Statistics in Medicine 26:596), a training in the place of a reader. We
depart in one thing: the prompts' degrees of freedom count too, which matters below thirty prompts.

The crossed bootstrap (Owen 2007, the pigeonhole bootstrap) stands beside it. It draws seeds and
prompts again and knows no normal distribution, but with three seeds it has three values to draw
from: too short where trainings differ much, too long where the noise of drawing is all there is.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selma.comparing import statistics
from selma.comparing.power import POWER
from selma.comparing.statistics import TIE, Bootstrap
from selma.core.errors import ConfigError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SeedsEstimate:
    """A mean over seeds and prompts with what it is worth; all in the values' unit.

    With one seed everything is over prompts alone and says nothing of another training:
    `seed_deviation` and the ends over seeds are None. Without any variation there is no standard
    error, no degrees of freedom and nothing detectable, and the interval has no width.
    """

    mean: float
    low: float  # Student's interval over new seeds and new prompts
    high: float
    standard_error: float | None
    degrees_of_freedom: float | None
    p_value: float  # of a mean of 0, two-sided; 1 without variation
    bootstrap_low: float  # of the crossed bootstrap
    bootstrap_high: float
    seed_means: tuple[float, ...]
    seed_deviation: float | None  # between the means of seeds, n − 1
    seed_low: float | None  # Student's interval over seeds for these very prompts
    seed_high: float | None


class StudentInterval(NamedTuple):
    """The first fields of `SeedsEstimate`."""

    mean: float
    low: float
    high: float
    standard_error: float | None
    degrees_of_freedom: float | None
    p_value: float


def estimate_over_seeds(values: Floats, weights: Floats, how: Bootstrap) -> SeedsEstimate:
    """Estimate the mean over seeds of the weighted mean over prompts.

    Args: as of `student_over_seeds`.
    Raises: ConfigError if there is no seed or no prompt, or the shapes do not fit.
    """
    student = student_over_seeds(values, weights, how.confidence)
    seed_means = (values * weights).sum(axis=1) / weights.sum()  # (S,)
    ends = crossed_bootstrap(values, weights, how)
    deviation, seed_low, seed_high = None, None, None
    if len(values) > 1:
        deviation = float(np.std(seed_means, ddof=1))
        over_seeds = deviation**2 / len(values), len(values) - 1.0
        seed_low, seed_high, _ = _interval(student.mean, *over_seeds, how.confidence)
    return SeedsEstimate(
        *student, *ends, tuple(map(float, seed_means)), deviation, seed_low, seed_high
    )


def student_over_seeds(values: Floats, weights: Floats, confidence: float) -> StudentInterval:
    """Make Student's interval of the mean over seeds of the weighted mean over prompts.

    Args: values, (S, N): a row per seed, the prompts in one order. weights, (N,): positive.
    Raises: ConfigError if there is no seed or no prompt, or the shapes do not fit.
    """
    if values.ndim != 2 or not values.size or weights.shape != values.shape[1:]:
        raise ConfigError(
            f"seeds: expected values (S, N) and weights (N,), got {values.shape}, {weights.shape}"
        )
    mean = float(((values * weights).sum(axis=1) / weights.sum()).mean())
    # a weighted mean, made linear: the mean over prompts of each row stays its weighted mean
    share = weights * (len(weights) / weights.sum())
    variance, freedom = _variance_of_mean(mean + share * (values - mean))
    low, high, p_value = _interval(mean, variance, freedom, confidence)
    varies = math.sqrt(variance) > TIE and freedom > 0
    return StudentInterval(
        mean, low, high, math.sqrt(variance) if varies else None, freedom if varies else None,
        p_value,
    )  # fmt: skip


def crossed_bootstrap(values: Floats, weights: Floats, how: Bootstrap) -> tuple[float, float]:
    """Find the percentile interval of a mean when seeds and prompts are both drawn again.

    Each resample draws S seeds and N prompts, independently and with replacement; all values of a
    drawn seed on a drawn prompt are taken.
    """
    number_of_seeds, number = values.shape
    seeds = statistics.draw(number_of_seeds, number_of_seeds, how.named("seeds"))
    chosen = np.concatenate(list(seeds))  # (R, S)
    weighted = values * weights
    means = []
    for drawn in statistics.draw(number, number, how.named("prompts")):  # (r, N)
        total = np.take(weights, drawn, mode="clip").sum(axis=1)  # (r,)
        by_seed = [np.take(row, drawn, mode="clip").sum(axis=1) / total for row in weighted]
        part, chosen = chosen[: len(drawn)], chosen[len(drawn) :]
        means.append(np.take_along_axis(np.stack(by_seed, axis=1), part, axis=1).mean(axis=1))
    tail = (1 - how.confidence) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def detectable_over_seeds(
    standard_error: float, degrees_of_freedom: float, *, alpha: float, power: float = POWER
) -> float:
    """Find the true mean that such a study finds at level alpha with the chance `power`.

    By the noncentral t; a difference found with the wrong sign is left out.
    """
    from scipy.special import nctdtrinc

    limit = _student(1 - alpha / 2, degrees_of_freedom)
    return float(nctdtrinc(degrees_of_freedom, 1 - power, limit)) * standard_error


def _variance_of_mean(values: Floats) -> tuple[float, float]:
    """Estimate the variance of the mean of all values (S, N), and its degrees of freedom."""
    seeds, prompts = values.shape
    mean = values.mean()
    of_seeds = values.mean(axis=1, keepdims=True) - mean  # (S, 1)
    of_prompts = values.mean(axis=0, keepdims=True) - mean  # (1, N)
    ms_prompts = seeds * float((of_prompts**2).sum()) / max(prompts - 1, 1)
    if seeds == 1:
        return ms_prompts / prompts, prompts - 1.0
    ms_seeds = prompts * float((of_seeds**2).sum()) / (seeds - 1)
    if prompts == 1:
        return ms_seeds / seeds, seeds - 1.0
    rest = values - mean - of_seeds - of_prompts
    ms_rest = float((rest**2).sum()) / ((seeds - 1) * (prompts - 1))
    of_prompts_alone = max(ms_prompts - ms_rest, 0.0)
    total = ms_seeds + of_prompts_alone
    spread = ms_seeds**2 / (seeds - 1) + of_prompts_alone**2 / (prompts - 1)
    return total / (seeds * prompts), total**2 / spread if spread else 0.0


def _interval(
    mean: float, variance: float, freedom: float, confidence: float
) -> tuple[float, float, float]:
    """Make Student's interval, and the p-value of a mean of 0."""
    from scipy.special import stdtr

    error = math.sqrt(variance)
    if error <= TIE or freedom <= 0:
        return mean, mean, 1.0
    half = _student((1 + confidence) / 2, freedom) * error
    return mean - half, mean + half, float(2 * stdtr(freedom, -abs(mean) / error))


def _student(probability: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
