"""Pairs of pictures of the same prompt and seed, joined with what the judge said, and a choice."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selma.core.errors import MissingDataError

Row = Mapping[str, Any]
Key = tuple[str, int]  # item and sample
OUTCOMES = ("worse", "alike", "better", "right")  # in the order they are shown


@dataclass(frozen=True)
class Verdict:
    """The judge's answer to one question about one picture.

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
    """One model's picture, its score in the measure's unit, a verdict per question if any."""

    png: bytes
    score: float
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Example:
    """One prompt and seed drawn by reference and subject (by one model if they are the same)."""

    item_id: str
    sample: int
    skill: str
    prompt: str
    questions: tuple[str, ...]
    pictures: tuple[Picture, ...]

    @property
    def difference(self) -> float:
        """Score of the last picture minus score of the first."""
        return self.pictures[-1].score - self.pictures[0].score

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`: "right" if every answer about every picture counts."""
        if self.difference:
            return "better" if self.difference > 0 else "worse"
        verdicts = self.pictures[-1].verdicts
        return "right" if verdicts and all(verdict.counted for verdict in verdicts) else "alike"


def build_examples(
    benchmark: Iterable[Row],
    samples: Mapping[str, Iterable[Row]],
    answers: Mapping[str, Iterable[Row]] | None,
    scores: Mapping[str, Iterable[Row]],
    *,
    factor: float = 1.0,
) -> list[Example]:
    """Join the pictures of the models with their scores and the judge's answers.

    Args:
        benchmark: rows of a benchmark table.
        samples: rows of a samples table per model, the reference first, the subject last.
        answers: rows of an answers table per model; None for a measure without answers.
        scores: rows of the measure's scores table per model.
        factor: from the table's scores to the measure's unit.

    Returns:
        One example per sample, sorted; with answers only for items that have questions.

    Raises:
        MissingDataError: a model lacks a picture, an answer or a score that the other has.
    """
    items = {row["item_id"]: row for row in benchmark if answers is None or row["questions"]}
    pictures = {
        model: _pictures(
            model,
            items,
            rows,
            answers[model] if answers is not None else None,
            scores[model],
            factor,
        )
        for model, rows in samples.items()
    }
    keys = sorted(set[Key]().union(*pictures.values()))
    for model, own in pictures.items():
        for item_id, sample in keys:
            if (item_id, sample) not in own:
                raise MissingDataError(
                    f"samples of {model}: none for item {item_id!r} sample {sample}; "
                    "run `dvc repro samples`"
                )
    examples = []
    for item_id, sample in keys:
        item = items[item_id]
        asked = tuple(q["question"] for q in item["questions"] if answers is not None)
        drawn = tuple(own[item_id, sample] for own in pictures.values())
        examples.append(Example(item_id, sample, item["source"], item["prompt"], asked, drawn))
    return examples


def _pictures(
    model: str,
    items: Mapping[str, Row],
    samples: Iterable[Row],
    answers: Iterable[Row] | None,
    scores: Iterable[Row],
    factor: float,
) -> dict[Key, Picture]:
    said = {(a["item_id"], a["sample"], a["question_id"]): a["answer"] for a in answers or ()}
    scored = {(row["item_id"], row["sample"]): row for row in scores}
    pictures = {}
    for row in samples:
        item_id, sample = key = (row["item_id"], row["sample"])
        if item_id not in items:
            continue
        if key not in scored:
            raise MissingDataError(
                f"scores of {model}: none for item {item_id!r} sample {sample}; run `dvc repro`"
            )
        asked = items[item_id]["questions"] if answers is not None else ()
        points = json.loads(scored[key]["details"]).get("questions", ())
        verdicts = _verdicts(key, asked, {point["question_id"]: point for point in points}, said)
        pictures[key] = Picture(row["image"]["bytes"], factor * scored[key]["score"], verdicts)
    return pictures


def _verdicts(
    key: Key,
    questions: Iterable[Row],
    points: Mapping[int, Row],
    said: Mapping[tuple[str, int, int], str],
) -> tuple[Verdict, ...]:
    verdicts = []
    for number in (question["question_id"] for question in questions):
        if number not in points or (*key, number) not in said:
            raise MissingDataError(
                f"answers: none to question {number} of item {key[0]!r} sample {key[1]}; "
                "run `dvc repro answers`"
            )
        right = points[number].get("raw", points[number].get("score")) == 1
        counted = bool(points[number].get("filtered", right))
        verdicts.append(Verdict(said[*key, number], right, counted))
    return tuple(verdicts)


def choose_examples(examples: Sequence[Example], number: int) -> list[Example]:
    """Choose as many pairs of each outcome but "right" as there are, up to a number in all.

    Within an outcome the skills take turns, each with its largest difference first (where nothing
    changed: its lowest score), so that no skill and no item fills the page.

    Returns:
        In the order of `OUTCOMES`; within one the largest difference first.
    """
    queues = {outcome: _by_turns(examples, outcome) for outcome in OUTCOMES[:-1]}
    chosen: list[Example] = []
    while len(chosen) < number and any(queues.values()):
        for queue in queues.values():
            if queue and len(chosen) < number:
                chosen.append(queue.pop(0))
    return sorted(chosen, key=lambda example: (OUTCOMES.index(example.outcome), *_weight(example)))


def _by_turns(examples: Sequence[Example], outcome: str) -> list[Example]:
    turns: Counter[str] = Counter()
    placed: dict[str, tuple[int, Example]] = {}  # by item
    for example in sorted((e for e in examples if e.outcome == outcome), key=_weight):
        if example.item_id not in placed:
            placed[example.item_id] = (turns[example.skill], example)
            turns[example.skill] += 1
    return [e for _, e in sorted(placed.values(), key=lambda place: (place[0], _weight(place[1])))]


def _weight(example: Example) -> tuple[float, float, str, int]:
    score = example.pictures[-1].score
    return (-abs(example.difference), score, example.item_id, example.sample)


def typical_examples(examples: Sequence[Example], number: int) -> list[Example]:
    """Choose a pair per skill for a small picture, without picking the best.

    The median by difference of a skill's pairs whose score changed, or its first pair where none
    did; skills are sorted.
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
    """Count the pairs of each outcome."""
    counts = Counter(example.outcome for example in examples)
    return {outcome: counts[outcome] for outcome in OUTCOMES}
