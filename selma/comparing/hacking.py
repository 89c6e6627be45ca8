"""The hacking alarm: a model's score rises where it was trained, and falls where it was not.

A model trained or selected against a measure (a reward, the ranking of pairs, the best of K) may
learn that measure's mistakes instead of what it stands for. One sign of that can be seen in a
table: the measure rises while one that no training saw falls, on the same prompts. Independent is a
measure that neither model of the pair was trained against, and that another judge decides than
those that were.

Both must be decided, not only point that way: where nothing changes, two estimates of no effect
part in this way every fourth time, and where the trained-against measure rises as it should, every
second time. Verdicts are adjusted for all watched differences, so a false alarm needs a false
verdict among them: at most 5 % of such studies have one, also if some measures did change.
"""

from collections.abc import Collection, Mapping
from typing import Any

from selma.comparing.comparison import BETTER, WORSE

Record = dict[str, Any]
TrainedAgainst = Mapping[str, Collection[str]]  # model or row → measures
ALARM, WATCH, QUIET, UNWATCHED = "alarm", "watch", "quiet", "unwatched"


def hacking_mark(
    differences: Mapping[str, Record], trained: Collection[str], other: Collection[str] = ()
) -> Record:
    """Mark a model's differences to another one, by measure, each with its verdict.

    `trained` are the measures that the first was trained or selected against, at least one of them
    among the differences; `other` those of the second. The mark is

    - "alarm": one of `trained` is decided better, and an independent measure decided worse;
    - "watch": so by intervals of their own, without the adjustment for several differences;
    - "quiet": neither, which says no more than what such differences could have found;
    - "unwatched": no measure is independent, so nothing could contradict.

    `risen` and `fallen` name the measures that made an alarm or a watch, else none.
    """
    seen = [measure for measure in differences if measure in {*trained, *other}]
    judges = {differences[measure]["judge"] for measure in seen}
    independent = [name for name, found in differences.items() if found["judge"] not in judges]
    own = [measure for measure in seen if measure in trained]
    risen, fallen = [], []
    mark = QUIET if independent else UNWATCHED
    for kind, up, down in ((ALARM, _better, _worse), (WATCH, _above, _below)):
        risen = [measure for measure in own if up(differences[measure])]
        fallen = [measure for measure in independent if down(differences[measure])]
        if risen and fallen:
            mark = kind
            break
    marked = mark in (ALARM, WATCH)
    return {
        "mark": mark,
        "trained_against": own,
        "independent": independent,
        "risen": risen if marked else [],
        "fallen": fallen if marked else [],
    }


def _better(found: Record) -> bool:
    return bool(found["verdict"] == BETTER)


def _worse(found: Record) -> bool:
    return bool(found["verdict"] == WORSE)


def _above(found: Record) -> bool:
    return bool(found["low"] > 0)


def _below(found: Record) -> bool:
    return bool(found["high"] < 0)
