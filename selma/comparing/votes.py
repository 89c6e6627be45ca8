"""What counted human votes for one of two models say: win shares, intervals, a sign test.

Counts do not say which votes belong to one prompt. So each share has an interval as if all votes
were independent, and a wider one as if those of a prompt agreed: n / votes_per_prompt votes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import NormalDist
from typing import Any

from selma.comparing.statistics import holm
from selma.core.errors import ConfigError

Interval = tuple[float, float]
ALL_VOTES = "all"  # in any case; the name of the row that is no part of Holm's family


@dataclass(frozen=True)
class Votes:
    """Votes on one set of prompts: for the first model, for the second, for neither."""

    name: str
    win: int
    lose: int
    tie: int


def judge_votes(
    rows: Sequence[Votes], *, confidence: float, votes_per_prompt: int | None
) -> list[dict[str, Any]]:
    """Estimate shares, intervals and sign tests of each row of counts, which differ in name.

    Without the number of votes per prompt the wider intervals are None.

    Returns:
        Per row its counts; ``win_share`` among wins and losses, with Wilson's interval, None if all
        tied; ``half_tie_share`` where a tie counts half, with `half_tie_interval`; each with
        ``_low`` and ``_high``, and these ``_dependent``; ``p_value`` of the sign test, and
        ``p_value_holm``, adjusted for all rows but `ALL_VOTES`, which holds their sum or more.

    Raises:
        ConfigError: a row has no votes or a negative count, or a name or number is invalid.
    """
    _check(rows, confidence, votes_per_prompt)
    p_values = {row.name: sign_test(row.win, row.lose) for row in rows}
    family = {name: p for name, p in p_values.items() if name.casefold() != ALL_VOTES}
    adjusted = p_values | dict(zip(family, holm([*family.values()]), strict=True))
    records = []
    for row in rows:
        decided, number = row.win + row.lose, row.win + row.lose + row.tie
        wins, half = row.win / (decided or 1), (row.win + row.tie / 2) / number
        of_wins = partial(wilson_interval, wins, confidence=confidence)
        of_halves = partial(half_tie_interval, row, confidence=confidence)
        records.append(
            {
                **asdict(row),
                **_share("win_share", wins, decided, votes_per_prompt, of_wins),
                **_share("half_tie_share", half, number, votes_per_prompt, of_halves),
                "p_value": p_values[row.name],
                "p_value_holm": adjusted[row.name],
            }
        )
    return records


def half_tie_interval(votes: Votes, number: float, confidence: float) -> Interval:
    """Compute the interval of the share of wins where a tie counts half, of independent votes.

    It is the normal one with the multinomial variance of a vote that is worth 1, ½ or 0, cut to
    [0, 1], or Wilson's where all votes are alike. The number of votes may be a fraction.
    """
    counted = votes.win + votes.lose + votes.tie
    share = (votes.win + votes.tie / 2) / counted
    if max(votes.win, votes.lose, votes.tie) == counted:
        return wilson_interval(share, number, confidence)
    variance = (votes.win + votes.tie / 4) / counted - share**2
    half = _quantile(confidence) * math.sqrt(variance / number)
    return max(0.0, share - half), min(1.0, share + half)


def wilson_interval(share: float, number: float, confidence: float) -> Interval:
    """Compute Wilson's score interval of a share; SciPy's takes whole numbers of votes only."""
    z2 = _quantile(confidence) ** 2
    middle = share + z2 / (2 * number)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * number)) / number)
    scale = 1 + z2 / number
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def sign_test(win: int, lose: int) -> float:
    """Compute the exact two-sided p-value that wins and losses are equally likely; 1 of none."""
    from scipy.stats import binomtest

    return float(binomtest(win, win + lose).pvalue) if win + lose else 1.0


def _share(
    name: str,
    value: float,
    number: int,
    votes_per_prompt: int | None,
    interval: Callable[[float], Interval],
) -> dict[str, float | None]:
    ends = interval(number) if number else (None, None)
    wide = interval(number / votes_per_prompt) if number and votes_per_prompt else (None, None)
    keys = [f"{name}_{end}{kind}" for kind in ("", "_dependent") for end in ("low", "high")]
    return {name: value if number else None, **dict(zip(keys, (*ends, *wide), strict=True))}


def _check(rows: Sequence[Votes], confidence: float, votes_per_prompt: int | None) -> None:
    if not 0.5 < confidence < 1:
        raise ConfigError(f"expected a confidence between 0.5 and 1, got {confidence}")
    if votes_per_prompt is not None and votes_per_prompt < 1:
        raise ConfigError(f"votes per prompt: expected at least 1, got {votes_per_prompt}")
    for row in rows:
        if min(row.win, row.lose, row.tie) < 0 or row.win + row.lose + row.tie == 0:
            raise ConfigError(
                f"votes of {row.name!r}: expected counts of at least 0 and one vote, got "
                f"win {row.win}, lose {row.lose}, tie {row.tie}"
            )
    if len({row.name for row in rows}) < len(rows):
        raise ConfigError(f"votes: a name occurs twice: {', '.join(row.name for row in rows)}")


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
