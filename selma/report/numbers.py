"""Numbers as a person reads them: units, signs, intervals, one phrase of judgement."""

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
ALL_SKILLS = "all"
MODELS = ("base", "mixture", "merged")
BASELINES = ("base", "mixture")
TITLES = {
    "dsg": "DSG",
    "tifa": "TIFA",
    "pickscore": "PickScore",
    "imagereward": "ImageReward",
    "hps": "HPS",
}


def title_of(metric: str) -> str:
    """Give a metric's usual name."""
    return TITLES.get(metric, metric)


def digits_of(record: Record) -> int:
    """Give the number of decimals worth reading."""
    return 1 if record["unit"] == "percent" else 3


def plain(value: float, digits: int) -> str:
    """Write a number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int) -> str:
    """Write a difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def interval(record: Record) -> str:
    """Write a difference's interval."""
    digits = digits_of(record)
    return f"{signed(record['low'], digits)} to {signed(record['high'], digits)}"


def finding(record: Record) -> str:
    """Say what an interval allows: "better", "worse" or "not clear"."""
    if record["low"] > 0:
        return "better"
    return "worse" if record["high"] < 0 else "not clear"


def metrics_of(records: Sequence[Record]) -> list[str]:
    """List the metrics in their order in the file."""
    return list(dict.fromkeys(record["metric"] for record in records))


def skills_of(records: Sequence[Record], metric: str) -> list[str]:
    """List a metric's skills in their order in the file, all together first."""
    skills = dict.fromkeys(record["skill"] for record in records if record["metric"] == metric)
    return sorted(skills, key=lambda skill: skill != ALL_SKILLS)


def find(records: Sequence[Record], **wanted: str) -> Record:
    """Give the one record with these values.

    Raises:
        KeyError: there is none.
    """
    for record in records:
        if all(record[key] == value for key, value in wanted.items()):
            return record
    raise KeyError(wanted)
