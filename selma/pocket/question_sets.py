"""Makes the question sets of a Description: DSG's graph and TIFA's multiple choice."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from selma.pocket.captions import (
    COUNT_WORDS,
    RELATION_PHRASES,
    Description,
    article,
    noun_of,
    plural,
)
from selma.pocket.questions import YES_NO
from selma.pocket.scenes import BACKGROUNDS, COLOURS, MAX_OBJECTS, RADII_PX, RELATIONS, SHAPES


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
    verbs = ["Are" if group.count > 1 else "Is" for group in groups]
    for verb, group in zip(verbs, groups, strict=True):
        noun = noun_of(group) if group.count > 1 else article(group.shape)
        ask(f"{verb} there {noun}?", "entity - whole")
    for entity, (verb, group) in enumerate(zip(verbs, groups, strict=True), start=1):
        for name, value in (("color", group.colour), ("size", group.size)):
            if value:
                ask(f"{verb} the {noun_of(group)} {value}?", f"attribute - {name}", entity)
    if any(group.count > 1 for group in groups):
        for entity, (verb, group) in enumerate(zip(verbs, groups, strict=True), start=1):
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

    def ask(category: str, text: str, answer: str, choices: Sequence[str]) -> None:
        found.append(Question(len(found) + 1, text, tuple(choices), answer, (), category))

    def choose_one(category: str, text: str, answer: str, all_values: Iterable[str]) -> None:
        wrong = [value for value in all_values if value != answer]
        choices = [answer, *rng.sample(wrong, min(3, len(wrong)))]
        ask(category, text, answer, rng.sample(choices, len(choices)))

    groups = description.groups
    for group in groups:
        ask("object", f"Is there {article(group.shape)}?", "yes", YES_NO)
        is_the = f"{'are' if group.count > 1 else 'is'} the {noun_of(group)}"
        if group.colour:
            choose_one("color", f"What color {is_the}?", group.colour, COLOURS)
            choose_one("shape", f"Which shape is {group.colour}?", group.shape, SHAPES)
        if group.size:
            choose_one("attribute", f"What size {is_the}?", group.size, RADII_PX)
    if any(group.count > 1 for group in groups):
        numbers = [str(number) for number in range(1, MAX_OBJECTS + 1)]
        for group in groups:
            text = f"How many {plural(group.shape)} are there?"
            choose_one("counting", text, str(group.count), numbers)
    for link in description.links:
        first, second = groups[link.first].shape, groups[link.second].shape
        text = f"Where is the {first} relative to the {second}?"
        choose_one("spatial", text, link.relation, RELATIONS)
    if description.background:
        asked = "What color is the background?"
        choose_one("location", asked, description.background, BACKGROUNDS)
    return found
