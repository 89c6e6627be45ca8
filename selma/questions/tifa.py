"""Has an LLM write a caption's TIFA questions, with choices, and drops those that are unsound.

Source: TIFA, arXiv 2303.11897, section 3. Where we differ from the paper: the request is our own
and asks for all in one reply, not for elements first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from selma.core.errors import ReplyError
from selma.questions.interview import Interview, Questions
from selma.questions.replies import labelled_records, without_repeats
from selma.questions.requests import choices_request

ELEMENT_TYPES = (
    "animal/human", "object", "location", "activity", "color", "spatial", "attribute", "food",
    "counting", "material", "other", "shape",
)  # fmt: skip
_SPELLINGS = {
    **dict.fromkeys(("animal", "human", "person", "human/animal"), "animal/human"),
    "colour": "color",
    "count": "counting",
}
CHOICE_SEPARATOR = ", "
_FIELDS = ("element", "type", "question", "choices", "answer")
_YES_NO = ("yes", "no")


def tifa_questions(interview: Interview) -> Questions:
    """Ask for the questions of one caption; else as `dsg_questions` and `parse_choices`."""
    return interview.ask("choices", partial(choices_request, interview.prompt), parse_choices)


def parse_choices(reply: str) -> Questions:
    """Read questions with choices and drop those that are unsound, counted by what was wrong.

    Choices are split at ", ", as in TIFA's file, so none can hold that. Differences in case between
    the answer and its choice are the choice's; "Yes" and "No" become lower case, for models answer
    so. An unsound question lacks a field, has an element type that is not TIFA's, fewer than two
    choices, an answer that is not among them, or the text of an earlier question. ReplyError if
    nothing is left.
    """
    kept: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    asked: set[str] = set()
    for record in labelled_records(reply, _FIELDS):
        question, defect = _read(record)
        folded = " ".join(str(question.get("question", "")).casefold().split())
        if not defect and folded in asked:
            defect = "repeated question"
        if defect:
            dropped[defect] += 1
            continue
        asked.add(folded)
        kept.append({"question_id": len(kept) + 1, **question})
    if not kept:
        found = ", ".join(f"{count} × {defect}" for defect, count in sorted(dropped.items()))
        raise ReplyError(f"it has no sound question ({found or 'no question at all'})", reply)
    return Questions(kept, dropped)


def split_choices(text: str) -> list[str]:
    """Split choices as TIFA's file does; none twice, a closing full stop is no part of the last."""
    parts = (part.strip(" \"'“”") for part in text.rstrip(" .").split(CHOICE_SEPARATOR))
    choices = [part.lower() if part.lower() in _YES_NO else part for part in parts if part]
    return without_repeats(choices)


def _read(record: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Read a question of a benchmark row; {} and what is wrong if the record is unsound."""
    if not all(record.get(name) for name in _FIELDS):
        return {}, "field missing"
    element_type = record["type"].lower().strip(" .")
    element_type = _SPELLINGS.get(element_type, element_type)
    if element_type not in ELEMENT_TYPES:
        return {}, "unknown element type"
    choices = split_choices(record["choices"])
    if len(choices) < 2:
        return {}, "fewer than two choices"
    answer = _choice(record["answer"], choices)
    if answer is None:
        return {}, "answer is no choice"
    question = {"question": record["question"], "choices": choices, "answer": answer}
    group = {"dependency": "0", "category": element_type, "element": record["element"]}
    return question | group, ""


def _choice(answer: str, choices: Sequence[str]) -> str | None:
    wanted = split_choices(answer)
    by_fold = {choice.casefold(): choice for choice in choices}
    return by_fold.get(wanted[0].casefold()) if len(wanted) == 1 else None
