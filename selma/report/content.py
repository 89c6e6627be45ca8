"""What the report shows: numbers as they were measured, and a balanced choice of pictures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selma.core.errors import MissingDataError, RecordError

Row = Mapping[str, Any]
Record = Mapping[str, Any]
Curve = Sequence[tuple[int, float]]  # (step, loss)
MODELS = ("base", "merged")  # whose pictures are shown side by side
OUTCOMES = ("worse", "both_fail", "better")  # failures first


@dataclass(frozen=True)
class Verdict:
    """What the judge said to one question about one picture.

    Attributes:
        answer: the judge's word.
        right: it is the answer that the prompt demands.
        counted: it kept its point; a right answer loses it if its parent question is wrong.
    """

    answer: str
    right: bool
    counted: bool


@dataclass(frozen=True)
class Picture:
    """One model's picture of a prompt, with its score in [0, 1] and a verdict per question."""

    png: bytes
    score: float
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Example:
    """The same prompt and seed drawn by two models."""

    item_id: str
    sample: int
    skill: str
    prompt: str
    questions: tuple[str, ...]
    base: Picture
    merged: Picture

    @property
    def difference(self) -> float:
        """Give merged − base."""
        return self.merged.score - self.base.score

    @property
    def outcome(self) -> str:
        """Name what teaching did: one of `OUTCOMES`, or "both_right"."""
        if self.difference:
            return "better" if self.difference > 0 else "worse"
        return "both_right" if self.merged.score == 1 else "both_fail"


@dataclass(frozen=True)
class Content:
    """All that the page is made of.

    Attributes:
        scores: one record per metric, model and skill, as in metrics/comparison.json.
        comparisons: one record per metric, baseline and skill.
        certificate: metrics/merge.json.
        curves: per training, its loss curve.
        examples: chosen, in the order they are shown.
        n_by_outcome: number of pairs of pictures per outcome, among all pairs.
    """

    scores: Sequence[Record]
    comparisons: Sequence[Record]
    certificate: Mapping[str, Any]
    curves: Mapping[str, Curve]
    examples: Sequence[Example]
    n_by_outcome: Mapping[str, int]


def build_examples(
    benchmark: Iterable[Row],
    samples: Mapping[str, Iterable[Row]],
    answers: Mapping[str, Iterable[Row]],
    scores: Mapping[str, Iterable[Row]],
) -> list[Example]:
    """Join pictures, answers and scores of both models.

    Args:
        benchmark: rows of a benchmark table.
        samples: per model of `MODELS`, rows of a samples table.
        answers: likewise, of an answers table.
        scores: likewise, of a scores table of DSG.

    Returns:
        One example per item with questions and sample, sorted.

    Raises:
        MissingDataError: a model lacks a picture, an answer or a score that the other has.
    """
    items = {row["item_id"]: row for row in benchmark if row["questions"]}
    pictures = {
        model: _pictures(items, samples[model], answers[model], scores[model]) for model in MODELS
    }
    base, merged = pictures["base"], pictures["merged"]
    alone = sorted(set(base) ^ set(merged))
    if alone:
        lacking = "merged" if alone[0] in base else "base"
        raise MissingDataError(
            f"samples of {lacking}: none for item {alone[0][0]!r} sample {alone[0][1]}; "
            "run `dvc repro samples`"
        )
    return [
        Example(
            item_id,
            sample,
            items[item_id]["source"],
            items[item_id]["prompt"],
            tuple(question["question"] for question in items[item_id]["questions"]),
            base[item_id, sample],
            merged[item_id, sample],
        )
        for item_id, sample in sorted(base)
    ]


def _pictures(
    items: Mapping[str, Row], samples: Iterable[Row], answers: Iterable[Row], scores: Iterable[Row]
) -> dict[tuple[str, int], Picture]:
    said = {(a["item_id"], a["sample"], a["question_id"]): a["answer"] for a in answers}
    scored = {(row["item_id"], row["sample"]): row for row in scores}
    pictures = {}
    for row in samples:
        key = (row["item_id"], row["sample"])
        if row["item_id"] not in items:
            continue
        if key not in scored:
            raise MissingDataError(
                f"dsg scores: none for item {key[0]!r} sample {key[1]}; run `dvc repro dsg`"
            )
        verdicts = _verdicts(key, items[key[0]]["questions"], scored[key]["details"], said)
        pictures[key] = Picture(row["image"]["bytes"], scored[key]["score"], verdicts)
    return pictures


def _verdicts(
    key: tuple[str, int],
    questions: Sequence[Row],
    details: str,
    said: Mapping[tuple[str, int, int], str],
) -> tuple[Verdict, ...]:
    points = {point["question_id"]: point for point in json.loads(details)["questions"]}
    verdicts = []
    for question in questions:
        number = question["question_id"]
        if number not in points or (*key, number) not in said:
            raise MissingDataError(
                f"answers: none to question {number} of item {key[0]!r} sample {key[1]}; "
                "run `dvc repro answers`"
            )
        point = points[number]
        verdicts.append(Verdict(said[*key, number], point["raw"] == 1, bool(point["filtered"])))
    return tuple(verdicts)


def choose_examples(examples: Sequence[Example], number: int) -> list[Example]:
    """Choose pairs to look at: worse, both failing, better, as even a number of each as there is.

    Within an outcome the skills take turns, each with its largest difference first (for failures
    of both: its lowest score), so that no skill and no item fills the page.

    Args:
        examples: all pairs.
        number: of pairs to choose.

    Returns:
        Failures first; within an outcome the largest difference first.
    """
    queues = {outcome: _by_turns(examples, outcome) for outcome in OUTCOMES}
    chosen: list[Example] = []
    while len(chosen) < number and any(queues.values()):
        for outcome in OUTCOMES:
            if queues[outcome] and len(chosen) < number:
                chosen.append(queues[outcome].pop(0))
    return sorted(chosen, key=lambda example: (OUTCOMES.index(example.outcome), *_weight(example)))


def _by_turns(examples: Sequence[Example], outcome: str) -> list[Example]:
    turns: dict[str, int] = {}
    seen: set[str] = set()
    placed = []
    for example in sorted((e for e in examples if e.outcome == outcome), key=_weight):
        if example.item_id not in seen:
            seen.add(example.item_id)
            turns[example.skill] = turns.get(example.skill, 0) + 1
            placed.append((turns[example.skill], _weight(example), example))
    return [example for _, _, example in sorted(placed, key=lambda place: place[:2])]


def _weight(example: Example) -> tuple[float, float, str, int]:
    difference = -abs(example.difference)
    return (difference, example.merged.score, example.item_id, example.sample)


def typical_examples(examples: Sequence[Example], number: int) -> list[Example]:
    """Choose a pair per skill for a small picture, without picking the best.

    Of a skill's pairs that the judge scores differently, the median one by difference; skills are
    sorted; a skill with no such pair gives its first pair.
    """
    chosen = []
    for skill in sorted({example.skill for example in examples}):
        own = [example for example in examples if example.skill == skill]
        moved = sorted(
            (e for e in own if e.difference), key=lambda e: (e.difference, e.item_id, e.sample)
        )
        chosen.append(moved[len(moved) // 2] if moved else own[0])
    return chosen[:number]


def count_outcomes(examples: Iterable[Example]) -> dict[str, int]:
    """Count pairs per outcome."""
    counts = dict.fromkeys((*OUTCOMES, "both_right"), 0)
    for example in examples:
        counts[example.outcome] += 1
    return counts


def parse_curve(text: str, where: str) -> list[tuple[int, float]]:
    """Read a loss curve, CSV with the columns step and loss.

    Raises:
        RecordError: a line is not a number of steps and a loss.
    """
    header, *lines = text.splitlines() or [""]
    if header != "step,loss":
        raise RecordError(f"{where}:1: expected the columns step,loss, got {header!r}")
    curve = []
    for number, line in enumerate(lines, start=2):
        try:
            step, loss = line.split(",")
            curve.append((int(step), float(loss)))
        except ValueError as error:
            raise RecordError(f"{where}:{number}: expected step,loss, got {line!r}") from error
    return curve
