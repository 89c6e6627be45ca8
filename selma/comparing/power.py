"""How small a difference prompts can show: normal approximation, two-sided tests.

`spread` is the deviation over prompts of what is tested: of paired differences, or of one model's
values; for a weighted mean, standard error times √n. A number out of range is a ConfigError.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from selma.core.errors import ConfigError

NORMAL = NormalDist()
POWER = 0.8  # the customary chance of finding what is there


@dataclass(frozen=True)
class PowerNote:
    """The least distances found from one mean: to a fixed number, and to one on other prompts."""

    standard_error: float
    half_width: float
    from_a_number: float
    from_other_prompts: float
    power: float

    def sentence(self, unit: str) -> str:
        """Say it in words; a comparison on the same prompts needs less, and has its own number."""
        return (
            f"standard error {self.standard_error:.2f} {unit}; with {100 * self.power:g} % power "
            f"this finds a distance of {self.from_a_number:.2f} to a fixed number and of "
            f"{self.from_other_prompts:.2f} between two models on different prompts; on the same "
            "prompts compare in pairs"
        )


def predicted_power(effect: float, spread: float, number: int, *, alpha: float) -> float:
    """Predict the chance that a test at level alpha finds a true difference."""
    _check(spread, number, alpha)
    if spread == 0:
        return 1.0 if effect else 0.0
    shift, limit = abs(effect) * math.sqrt(number) / spread, _limit(alpha)
    return NORMAL.cdf(shift - limit) + NORMAL.cdf(-shift - limit)


def minimum_detectable_effect(
    spread: float, number: int, *, alpha: float, power: float = POWER
) -> float:
    """Find the true difference that a test at level alpha finds with the chance `power`.

    A difference found with the wrong sign is left out: under 1e-6 for 0.8 and alpha of 0.05.
    """
    _check(spread, number, alpha, power)
    return (_limit(alpha) + NORMAL.inv_cdf(power)) * spread / math.sqrt(number)


def describe_power(spread: float, number: int, *, alpha: float, power: float = POWER) -> PowerNote:
    """Say what a single mean over prompts can be distinguished from; alpha is 1 − its coverage."""
    found = minimum_detectable_effect(spread, number, alpha=alpha, power=power)
    error = spread / math.sqrt(number)
    return PowerNote(error, _limit(alpha) * error, found, math.sqrt(2) * found, power)


def _limit(alpha: float) -> float:
    return NORMAL.inv_cdf(1 - alpha / 2)


def _check(spread: float, number: int, alpha: float, power: float = POWER) -> None:
    if not (spread >= 0 and number >= 1 and 0 < alpha < 1 and 0.5 <= power < 1):
        raise ConfigError(
            "power: expected a standard deviation of at least 0, at least 1 prompt, alpha in (0, 1)"
            f" and power in [0.5, 1), got {spread}, {number}, {alpha} and {power}"
        )
