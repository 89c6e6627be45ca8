"""What a mean over prompts, and a difference of two models on the same prompts, is worth.

Prompts are drawn again, with all their pictures and questions. Bootstrap and sign flips are ours
because SciPy's draw other numbers than the released results and take two and three times as long
(bench/significance.py); Holm's method because SciPy has only the false discovery rate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed

Floats = NDArray[np.float64]

TIE = 1e-9  # smaller differences of a prompt's means are rounding
_CHUNK_VALUES = 1 << 17  # drawn at a time, to stay in cache; the stream does not depend on it


@dataclass(frozen=True)
class Bootstrap:
    """How intervals and p-values are made: number of resamples and sign flips, coverage, seed."""

    resamples: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        """Refuse fewer than 100 resamples, or a confidence outside (0.5, 1): ConfigError."""
        if not 0.5 < self.confidence < 1 or self.resamples < 100:
            raise ConfigError(
                "expected a confidence between 0.5 and 1 and at least 100 resamples, got "
                f"{self.confidence} and {self.resamples}"
            )

    def named(self, *names: str) -> "Bootstrap":
        """Take another seed for each thing that is estimated, so that none depends on the order."""
        return replace(self, seed=derive_seed(self.seed, *names))


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts and the percentile interval of its bootstrap."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """How much better the first of two models is: the mean difference with its interval.

    The p-value is the share of random sign flips whose mean is at least as far from 0, or beyond
    the margin, two-sided. Wins count prompts. For one prompt there is no standard error.
    """

    difference: float
    low: float
    high: float
    standard_error: float | None
    p_value: float
    wins: int
    ties: int
    losses: int


def estimate_mean(values: Floats, weights: Floats, how: Bootstrap) -> Estimate:
    """Estimate the weighted mean of prompts with a percentile bootstrap interval.

    Values and weights are (N,), one per prompt in a fixed order, the weights positive.
    """
    low, high = percentiles(resampled_means(values, weights, how), how)
    return Estimate(_weighted_mean(values, weights), low, high)


def resampled_means(values: Floats, weights: Floats, how: Bootstrap) -> Floats:
    """Draw prompts again and take their weighted mean, (R,); the arguments as `estimate_mean`'s."""
    weighted, number = values * weights, len(values)
    plain = bool((weights == 1).all())
    means = [
        _take(weighted, drawn).sum(axis=1)
        / (number if plain else _take(weights, drawn).sum(axis=1))
        for drawn in draw(number, number, how)
    ]
    return np.concatenate(means)


def percentiles(means: Floats, how: Bootstrap) -> tuple[float, float]:
    """The ends of the interval that resampled means, (R,), give."""
    tail = (1 - how.confidence) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def standard_error(values: Floats, weights: Floats) -> float | None:
    """Estimate the standard error of a weighted mean of prompts, linearised; None for one prompt.

    It is √(n/(n−1) · Σ wᵢ²(xᵢ − x̄)²) / Σ wᵢ; for equal weights the deviation over √n.
    """
    number = len(values)
    if number < 2:
        return None
    parts = weights * (values - _weighted_mean(values, weights))
    return float(np.sqrt(number / (number - 1) * (parts**2).sum()) / weights.sum())


def compare_paired(
    first: Floats, second: Floats, weights: Floats, how: Bootstrap, *, margin: float = 0.0
) -> PairedDifference:
    """Compare two models on the same prompts: first − second, (N,) each, as the positive weights.

    The p-value is for the hypothesis that the mean difference is at most the margin, either way,
    which moves neither the estimate nor its interval.
    """
    differences = first - second
    differences[np.abs(differences) < TIE] = 0.0
    estimate = estimate_mean(differences, weights, how)
    return PairedDifference(
        estimate.mean,
        estimate.low,
        estimate.high,
        standard_error(differences, weights),
        _sign_flip_p_value(_beyond(differences, estimate.mean, margin), weights, how),
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((differences < 0).sum()),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of one family of hypotheses by Holm's step-down method.

    Rejecting what is at most α keeps the chance of any false rejection among them at α or below,
    however the tests depend on each other. The order given is kept.
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(steps))[np.argsort(order)]
    return [float(p_value) for p_value in adjusted]


def _beyond(differences: Floats, mean: float, margin: float) -> Floats:
    """Move differences towards 0 by the margin, or by their mean if that is less."""
    return np.asarray(differences - np.copysign(min(margin, abs(mean)), mean))


def _weighted_mean(values: Floats, weights: Floats) -> float:
    return float((values * weights).sum() / weights.sum())


def _take(values: Floats, drawn: NDArray[np.int32]) -> Floats:
    return np.asarray(np.take(values, drawn, mode="clip"))  # clips none; that skips the check


def _sign_flip_p_value(differences: Floats, weights: Floats, how: Bootstrap) -> float:
    """Compute (1 + number of flips as extreme) / (1 + resamples), so that it is never 0."""
    weighted = differences * weights / weights.sum()
    least = abs(weighted.sum()) - TIE
    extreme = 0
    for flips in draw(2, len(weighted), how):
        means = (weighted * (2 * flips - 1)).sum(axis=1)  # (R,)
        extreme += int((np.abs(means) >= least).sum())
    return (1 + extreme) / (1 + how.resamples)


def draw(below: int, number: int, how: Bootstrap) -> Iterator[NDArray[np.int32]]:
    """Draw whole numbers below a limit, in pieces (R, number) whose rows are how.resamples."""
    generator = np.random.default_rng(how.seed)
    rows = max(1, _CHUNK_VALUES // number)
    for start in range(0, how.resamples, rows):
        size = (min(rows, how.resamples - start), number)
        yield generator.integers(0, below, size=size, dtype=np.int32)
