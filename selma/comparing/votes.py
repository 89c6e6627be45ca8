"""What counted human votes for one of two models say: win shares, intervals, a sign test.

Counts do not say which votes belong to one prompt. So each share has two intervals: one as if all
votes were independent, and a wider one as if the votes of one prompt always agreed, in which case n
votes are worth n / votes_per_prompt. Where they agree in part, the truth lies between the two.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from selma.comparing.statistics import holm
from selma.core.errors import ConfigError

Interval = tuple[float, float]
ALL_VOTES = "all"  # in any case; the name of the row that is no part of Holm's family
_COUNTS = ("win", "lose", "tie")


@dataclass(frozen=True)
class Votes:
    """Votes on one set of prompts: for the first model, for the second, for neither."""

    name: str
    win: int
    lose: int
    tie: int


@dataclass(frozen=True)
class Share:
    """A share of votes in [0, 1].

    Attributes:
        value: the share.
        independent: its interval if all votes are independent.
        dependent: its interval if the votes of one prompt always agree; None if nobody said how
            many votes a prompt has.
    """

    value: float
    independent: Interval
    dependent: Interval | None


@dataclass(frozen=True)
class VoteResult:
    """What votes say.

    Attributes:
        votes: the counts.
        decided: share of wins among wins and losses, with Wilson's interval; None if all tied.
        half_ties: share of wins if a tie counts half, with the interval of `half_tie_share`.
        p_value: of the exact two-sided sign test of wins and losses, votes being independent.
        p_value_holm: the same, adjusted for the number of rows.
    """

    votes: Votes
    decided: Share | None
    half_ties: Share
    p_value: float
    p_value_holm: float


def judge_votes(
    rows: Sequence[Votes], *, confidence: float, votes_per_prompt: int | None
) -> list[VoteResult]:
    """Estimate shares, intervals and sign tests of each row of counts.

    Holm's adjustment is over all rows but the one named `ALL_VOTES`, which holds their sum or more.

    Args:
        rows: with different names.
        confidence: coverage of the intervals, e.g. 0.95.
        votes_per_prompt: by as many persons; None leaves the wider interval out.

    Raises:
        ConfigError: a count is negative, a row has no votes, a name occurs twice, or a number is
            out of range.
    """
    _check(rows, confidence, votes_per_prompt)
    p_values = {row.name: sign_test(row.win, row.lose) for row in rows}
    family = [row.name for row in rows if row.name.casefold() != ALL_VOTES]
    adjusted = dict(zip(family, holm([p_values[name] for name in family]), strict=True))
    return [
        VoteResult(
            row,
            decided_share(row, confidence, votes_per_prompt) if row.win + row.lose else None,
            half_tie_share(row, confidence, votes_per_prompt),
            p_values[row.name],
            adjusted.get(row.name, p_values[row.name]),
        )
        for row in rows
    ]


def decided_share(votes: Votes, confidence: float, votes_per_prompt: int | None) -> Share:
    """Estimate the share of wins among the votes that are no ties, with Wilson's interval."""
    number = votes.win + votes.lose
    share = votes.win / number
    return _share(
        share, number, votes_per_prompt, lambda count: wilson_interval(share, count, confidence)
    )


def half_tie_share(votes: Votes, confidence: float, votes_per_prompt: int | None) -> Share:
    """Estimate the share of wins where a tie counts half.

    The interval is the normal one with the multinomial variance of a vote that is worth 1, ½ or 0,
    cut to [0, 1]; where all votes are alike that variance is 0, and Wilson's interval is given.
    """
    number = votes.win + votes.lose + votes.tie
    share = (votes.win + votes.tie / 2) / number
    variance = (votes.win + votes.tie / 4) / number - share**2

    def interval(count: float) -> Interval:
        if max(votes.win, votes.lose, votes.tie) == number:
            return wilson_interval(share, count, confidence)
        half = _quantile(confidence) * math.sqrt(variance / count)
        return max(0.0, share - half), min(1.0, share + half)

    return _share(share, number, votes_per_prompt, interval)


def wilson_interval(share: float, number: float, confidence: float) -> Interval:
    """Compute Wilson's score interval of a share.

    Written here because `scipy.stats.binomtest` takes whole numbers of votes only.

    Args:
        share: in [0, 1].
        number: of independent votes; may be a fraction.
        confidence: coverage, e.g. 0.95.
    """
    z2 = _quantile(confidence) ** 2
    middle = share + z2 / (2 * number)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * number)) / number)
    scale = 1 + z2 / number
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def sign_test(win: int, lose: int) -> float:
    """Compute the exact two-sided p-value that wins and losses are equally likely; 1 of none."""
    from scipy.stats import binomtest

    return float(binomtest(win, win + lose).pvalue) if win + lose else 1.0


def as_record(result: VoteResult) -> dict[str, Any]:
    """Flatten a result to JSON's types, unrounded."""
    record = {"name": result.votes.name, **{n: getattr(result.votes, n) for n in _COUNTS}}
    for name, share in (("win_share", result.decided), ("half_tie_share", result.half_ties)):
        low, high = share.independent if share else (None, None)
        wide_low, wide_high = share.dependent if share and share.dependent else (None, None)
        record |= {
            name: share.value if share else None,
            f"{name}_low": low,
            f"{name}_high": high,
            f"{name}_low_dependent": wide_low,
            f"{name}_high_dependent": wide_high,
        }
    return {**record, "p_value": result.p_value, "p_value_holm": result.p_value_holm}


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


def _share(
    value: float, number: int, votes_per_prompt: int | None, interval: Callable[[float], Interval]
) -> Share:
    dependent = interval(number / votes_per_prompt) if votes_per_prompt else None
    return Share(value, interval(number), dependent)


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
