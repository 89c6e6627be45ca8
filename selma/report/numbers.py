"""Numbers as a person reads them, and the comparison by measure, model and skill."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from selma.core.errors import RecordError

Record = Mapping[str, Any]
ALL_SKILLS = "all"
TRAINED = "†"  # at a number of a measure that the model was trained or selected against
RERUN = "run `dvc repro compare`"
_SCORE = itemgetter("measure", "model", "skill")
_DIFFERENCE = itemgetter("measure", "model", "baseline", "skill")


def digits_of(unit: str) -> int:
    """Decimals worth reading."""
    return 1 if unit == "percent" else 3


def plain(value: float, digits: int) -> str:
    """Write a number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def interval(record: Record) -> str:
    digits = digits_of(record["unit"])
    return f"{signed(record['low'], digits)} to {signed(record['high'], digits)}"


class Results:
    """A comparison, looked up by measure, model and skill; the models' order is their colours'.

    `pairs` are (subject, baseline), the reference first, none if the subject is the reference;
    `other_pairs` (another model, reference). `hacking` has the marks of models that were trained
    against a measure.
    """

    def __init__(self, comparison: Mapping[str, Any]) -> None:
        """Index metrics/comparison.json; RecordError if it lacks a part."""
        try:
            self.subject: str = comparison["subject"]
            self.reference: str = comparison["reference"]
            self.models: list[str] = comparison["models"]
            self.measures: dict[str, Record] = {m["name"]: m for m in comparison["measures"]}
            scores, comparisons = comparison["scores"], comparison["comparisons"]
            against = comparison["against"]
        except (KeyError, TypeError) as error:
            raise RecordError(f"metrics/comparison.json: lacks {error}; {RERUN}") from error
        self.hacking: list[Record] = comparison.get("hacking", [])
        self._scores = {_SCORE(record): record for record in scores}
        self._differences = {_DIFFERENCE(record): record for record in comparisons}
        baselines = [b for b in dict.fromkeys((self.reference, *against)) if b != self.subject]
        self.pairs = [(self.subject, baseline) for baseline in baselines]
        pairs = dict.fromkeys((r["model"], r["baseline"]) for r in comparisons)
        self.other_pairs = [pair for pair in pairs if pair not in self.pairs]

    def score(self, measure: str, model: str, skill: str = ALL_SKILLS) -> Record:
        """Find the score of a model; RecordError if there is none."""
        return _find(self._scores, (measure, model, skill))

    def difference(self, measure: str, pair: tuple[str, str], skill: str = ALL_SKILLS) -> Record:
        """Find the difference of a pair of models; RecordError if there is none."""
        return _find(self._differences, (measure, *pair, skill))

    def skills_of(self, measure: str) -> list[str]:
        """List the skills of a measure in their order in the file, all together first."""
        skills = dict.fromkeys(skill for name, _, skill in self._scores if name == measure)
        return sorted(skills, key=lambda skill: skill != ALL_SKILLS)

    def sign(self, measure: str, model: str) -> str:
        """Choose what stands behind a model's number: `TRAINED` or nothing."""
        own = (mark["trained_against"] for mark in self.hacking if mark["first"] == model)
        return TRAINED if any(measure in names for names in own) else ""

    def colours(self) -> dict[str, str]:
        """CSS class of each model."""
        return {model: f"m{place}" for place, model in enumerate(self.models)}


def _find(records: Mapping[Any, Record], key: tuple[str, ...]) -> Record:
    if key not in records:
        measure, *models, skill = key
        raise RecordError(
            f"metrics/comparison.json: no record of {measure} for {' − '.join(models)}, "
            f"skill {skill}; {RERUN}"
        )
    return records[key]
