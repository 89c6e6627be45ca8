"""Keeps one false alarm from being near certain when many hypotheses are tested at once."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method, in the order given.

    Rejecting what is at most α keeps the chance of any false rejection among them at α or below,
    however the tests depend on each other.

    Args:
        p_values: of one family of hypotheses, each in [0, 1].
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted
