"""Makes the question sets of a Description: DSG's graph and TIFA's multiple choice."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from selma.pocket.captions import (
    COUNT_WORDS,
    RELATION_PHRASES,
    Description,
    Group,
    article,
    noun_of,
    plural,
)
from selma.pocket.questions import YES_NO
from selma.pocket.scenes import BACKGROUNDS, COLOURS, MAX_OBJECTS, RADII_PX, RELATIONS, SHAPES

DSG_CATEGORIES = (
    "entity - whole",
    "attribute - color",
    "attribute - size",
    "other - count",
    "relation - spatial",
    "global",
)
TIFA_CATEGORIES = ("object", "color", "counting", "shape", "spatial", "attribute", "location")


@dataclass(frozen=True)
class Question:
    """One question of a prompt; `parents` are ids of questions that must be yes for it to count."""

    question_id: int
    question: str
    choices: tuple[str, ...]
    answer: str
    parents: tuple[int, ...]
    category: str


def dsg_questions(description: Description) -> list[Question]:
    """Make the DSG question graph of a description; every expected answer is "yes".

    Entities come first, then what depends on them. Once one group has several objects, the number
    of each group is asked. Shapes must be distinct, so that a shape's name names a group.
    """
    found: list[Question] = []

    def ask(text: str, category: str, *parents: int) -> None:
        found.append(Question(len(found) + 1, text, YES_NO, "yes", parents, category))

    groups = description.groups
    for group in groups:
        several = group.count > 1
        ask(
            f"Are there {plural(group.shape)}?" if several else f"Is there {article(group.shape)}?",
            "entity - whole",
        )
    for entity, group in enumerate(groups, start=1):
        if group.colour:
            ask(f"{_is_the(group)} {group.colour}?", "attribute - color", entity)
        if group.size:
            ask(f"{_is_the(group)} {group.size}?", "attribute - size", entity)
    if any(group.count > 1 for group in groups):
        for entity, group in enumerate(groups, start=1):
            verb = "Are" if group.count > 1 else "Is"
            number = COUNT_WORDS[group.count]
            ask(f"{verb} there exactly {number} {noun_of(group)}?", "other - count", entity)
    for link in description.links:
        first, second = groups[link.first].shape, groups[link.second].shape
        where = RELATION_PHRASES[link.relation][0]
        text = f"Is the {first} {where} the {second}?"
        ask(text, "relation - spatial", link.first + 1, link.second + 1)
    if description.background:
        ask(f"Is the background {description.background}?", "global")
    return found


def tifa_questions(description: Description, rng: random.Random) -> list[Question]:
    """Make TIFA-style questions of a description: yes/no for objects, else multiple choice.

    Its shapes and its colours must be distinct; `rng` draws wrong choices and all choices' order.
    """
    found: list[Question] = []

    def ask(text: str, answer: str, choices: Sequence[str], category: str) -> None:
        found.append(Question(len(found) + 1, text, tuple(choices), answer, (), category))

    def choose_one(text: str, answer: str, all_values: Sequence[str], category: str) -> None:
        wrong = [value for value in all_values if value != answer]
        choices = [answer, *rng.sample(wrong, min(3, len(wrong)))]
        ask(text, answer, rng.sample(choices, len(choices)), category)

    groups = description.groups
    for group in groups:
        ask(f"Is there {article(group.shape)}?", "yes", YES_NO, "object")
        verb = "are" if group.count > 1 else "is"
        if group.colour:
            text = f"What color {verb} the {noun_of(group)}?"
            choose_one(text, group.colour, list(COLOURS), "color")
            choose_one(f"Which shape is {group.colour}?", group.shape, SHAPES, "shape")
        if group.size:
            text = f"What size {verb} the {noun_of(group)}?"
            choose_one(text, group.size, list(RADII_PX), "attribute")
    if any(group.count > 1 for group in groups):
        numbers = [str(number) for number in range(1, MAX_OBJECTS + 1)]
        for group in groups:
            text = f"How many {plural(group.shape)} are there?"
            choose_one(text, str(group.count), numbers, "counting")
    for link in description.links:
        first, second = groups[link.first].shape, groups[link.second].shape
        text = f"Where is the {first} relative to the {second}?"
        choose_one(text, link.relation, RELATIONS, "spatial")
    if description.background:
        text = "What color is the background?"
        choose_one(text, description.background, list(BACKGROUNDS), "location")
    return found


def _is_the(group: Group) -> str:
    return f"{'Are' if group.count > 1 else 'Is'} the {noun_of(group)}"
