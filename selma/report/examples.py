"""Pairs of pictures of the same prompt and seed, joined with what the judge said, and a choice."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from selma.core.errors import MissingDataError

Row = Mapping[str, Any]
Rows = Iterable[Row]
Tables = Mapping[str, Rows]  # by model
Key = tuple[str, int]  # item and sample
T = TypeVar("T")
_KEY: Callable[[Row], Key] = itemgetter("item_id", "sample")
OUTCOMES = ("worse", "alike", "better", "right")  # in the order they are shown


@dataclass(frozen=True)
class Verdict:
    """The judge's answer to one question about one picture."""

    answer: str
    right: bool  # it is what the prompt demands
    counted: bool  # it kept its point; a right answer loses it if its parent question is wrong


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
        return self.pictures[-1].score - self.pictures[0].score

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`: "right" if every answer about every picture counts."""
        if self.difference:
            return "better" if self.difference > 0 else "worse"
        verdicts = self.pictures[-1].verdicts
        return "right" if verdicts and all(verdict.counted for verdict in verdicts) else "alike"


def build_examples(
    benchmark: Rows, samples: Tables, answers: Tables | None, scores: Tables, *, factor: float = 1.0
) -> list[Example]:
    """Join the pictures of the models with their scores and the judge's answers, sorted.

    All tables are given by model, the reference first, the subject last; `answers` is None for a
    measure without answers, else items without questions are left out. A score times `factor` is in
    the measure's unit. MissingDataError if a model lacks what the other has.
    """
    items = {row["item_id"]: row for row in benchmark if answers is None or row["questions"]}
    asked = {name: item["questions"] if answers is not None else () for name, item in items.items()}
    pictures: dict[str, dict[Key, Picture]] = {}
    for model, rows in samples.items():
        scored = {_KEY(row): row for row in scores[model]}
        said = {
            (*_KEY(row), row["question_id"]): row["answer"]
            for row in (answers or {}).get(model, ())
        }
        own = pictures[model] = {}
        for row in rows:
            if row["item_id"] not in items:
                continue
            score = _found(scored, _KEY(row), f"scores of {model}", "")
            verdicts = _verdicts(score, asked[row["item_id"]], said)
            own[_KEY(row)] = Picture(row["image"]["bytes"], factor * score["score"], verdicts)
    examples = []
    for key in sorted(set[Key]().union(*pictures.values())):
        drawn = [
            _found(own, key, f"samples of {model}", " samples") for model, own in pictures.items()
        ]
        item, questions = items[key[0]], tuple(q["question"] for q in asked[key[0]])
        examples.append(Example(*key, item["source"], item["prompt"], questions, tuple(drawn)))
    return examples


def _found(rows: Mapping[Key, T], key: Key, where: str, stage: str) -> T:
    if key not in rows:
        item_id, sample = key
        raise MissingDataError(
            f"{where}: none for item {item_id!r} sample {sample}; run `dvc repro{stage}`"
        )
    return rows[key]


def _verdicts(
    score: Row, questions: Rows, said: Mapping[tuple[str, int, int], str]
) -> tuple[Verdict, ...]:
    item_id, sample = _KEY(score)
    details = json.loads(score["details"]).get("questions", ())
    points = {point["question_id"]: point for point in details}
    verdicts = []
    for number in (question["question_id"] for question in questions):
        if number not in points or (item_id, sample, number) not in said:
            raise MissingDataError(
                f"answers: none to question {number} of item {item_id!r} sample {sample}; "
                "run `dvc repro answers`"
            )
        right = points[number].get("raw", points[number].get("score")) == 1
        counted = bool(points[number].get("filtered", right))
        verdicts.append(Verdict(said[item_id, sample, number], right, counted))
    return tuple(verdicts)


def choose_examples(examples: Sequence[Example], number: int) -> list[Example]:
    """Choose as many pairs of each outcome but "right" as there are, up to a number in all.

    Within an outcome the skills take turns, each with its largest difference first (where nothing
    changed: its lowest score), so that no skill and no item fills the page. They come in the order
    of `OUTCOMES`; within one the largest difference first.
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
    """Choose a pair per skill, sorted, for a small picture, without picking the best.

    It is the median by difference of the pairs whose score changed, or the first where none did.
    """
    chosen = []
    for skill in sorted({example.skill for example in examples}):
        own = [example for example in examples if example.skill == skill]
        moved = [example for example in own if example.difference]
        moved.sort(key=lambda example: (example.difference, example.item_id, example.sample))
        chosen.append(moved[len(moved) // 2] if moved else own[0])
    return chosen[:number]


def count_outcomes(examples: Iterable[Example]) -> dict[str, int]:
    counts = Counter(example.outcome for example in examples)
    return {outcome: counts[outcome] for outcome in OUTCOMES}
