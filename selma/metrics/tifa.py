"""TIFA: the share of an item's multiple-choice questions a picture gets right.

Source: TIFA, arXiv 2303.11897. An item without questions is skipped, not scored 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selma.core.choices import choose_name
from selma.core.devices import prepare_device
from selma.core.errors import ConfigError, RecordError
from selma.metrics.answers import AnsweredPicture, Row, describe, join_answers
from selma.metrics.replies import is_refusal

Mapper = Callable[[str, Sequence[str]], str]  # free answer and choices → what counts as the answer

VERSION = "arXiv 2303.11897"


def exact(answer: str, choices: Sequence[str]) -> str:
    """Take the answer as it is: one that is not among the choices cannot be right."""
    return answer


@dataclass(frozen=True)
class ChoiceMapping:
    """From a free answer to one of the choices."""

    name: str  # with the model's, part of what a score is
    choose: Mapper
    libraries: Mapping[str, str]  # versions of those that decide it


EXACT = ChoiceMapping("exact", exact, {})
TIFA_MAPPINGS = dict.fromkeys(("exact", "sbert"))


def load_mapping(
    name: str, sbert_path: str | None, benchmark: Sequence[Row], answers: Sequence[Row]
) -> ChoiceMapping:
    """Load a mapping of `TIFA_MAPPINGS`, ready for these answers.

    Raises ConfigError for an unknown name or "sbert" without a folder; else as
    `load_sbert_mapper`.
    """
    if choose_name("tifa mapping", name, TIFA_MAPPINGS) == "exact":
        return EXACT
    from selma.metrics.sbert import load_sbert_mapper

    if sbert_path is None:
        raise ConfigError(
            "tifa mapping 'sbert': needs the folder of sentence-transformers/all-mpnet-base-v2 "
            "(params: sbert_path of the measure, command line: --sbert)"
        )
    mapper = load_sbert_mapper(Path(sbert_path), device=prepare_device())
    choices = {
        (row["item_id"], question["question_id"]): question["choices"]
        for row in benchmark
        for question in row["questions"]
    }
    found = ((a["answer"], choices.get((a["item_id"], a["question_id"]))) for a in answers)
    mapper.prepare((answer, among) for answer, among in found if among is not None)
    model = f"{mapper.about['model']} sha256 {mapper.about['weights_sha256'][:12]}"
    return ChoiceMapping(f"sbert ({model})", mapper, mapper.about["libraries"])


def score_tifa(
    benchmark: Sequence[Row],
    answers: Sequence[Row],
    *,
    no_answer_max: float,
    mapping: ChoiceMapping = EXACT,
    judge_about: Mapping[str, Any] | None = None,
    allow_partial: bool = False,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Score pictures by TIFA, from rows of a benchmark table and one judge's answers.

    A question scores 1 if its mapped answer (see `load_mapping`) is the key; a picture's score is
    the mean over its questions, in [0, 1]. `no_answer_max` is the share of replies that may be no
    answer, see `is_refusal`; `judge_about` is what the answers table says of its judge;
    `allow_partial` leaves pictures out that lack an answer.

    Returns rows of a scores table, whose `details` are JSON with answer, key and score per
    question, and what the table is about; `not_a_choice` counts mapped answers that are no choice.
    Raises as `join_answers` and `describe`.
    """
    for row in benchmark:
        for question in row["questions"]:
            if question["answer"] not in question["choices"]:
                raise RecordError(
                    f"benchmark item {row['item_id']!r}: question {question['question_id']} has "
                    f"choices {question['choices']} without its answer {question['answer']!r}; "
                    "TIFA asks multiple choice, score yes/no questions by DSG"
                )
    joined = join_answers(benchmark, answers, allow_partial=allow_partial)
    policy = f"{mapping.name} mapping"
    about = describe("tifa", VERSION, policy, joined, judge_about, is_refusal, no_answer_max)
    asked = [(picture, _details(picture, mapping.choose)) for picture in joined.pictures]
    about["libraries"] = {**about["libraries"], **mapping.libraries}
    about["not_a_choice"] = sum(
        one["answer"] not in question["choices"]
        for picture, details in asked
        for question, one in zip(picture.questions, details, strict=True)
    )
    rows = [picture.row([one["score"] for one in made], 1.0, made) for picture, made in asked]
    return rows, about


def _details(picture: AnsweredPicture, mapper: Mapper) -> list[dict[str, Any]]:
    details = []
    for question in picture.questions:
        answer = mapper(picture.replies[question["question_id"]].answer, question["choices"])
        details.append(
            {
                "answer": answer,
                "category": question["category"],
                "key": question["answer"],
                "question_id": question["question_id"],
                "score": int(answer == question["answer"]),
            }
        )
    return details
