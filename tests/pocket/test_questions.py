"""Tests of the question language, with answers worked out by hand."""

import random

import pytest

from selma.core.errors import SelmaError
from selma.pocket.captions import Description, Group, Link
from selma.pocket.question_sets import dsg_questions, tifa_questions
from selma.pocket.questions import answer_query, parse_question
from selma.pocket.scenes import Scene, SceneObject

SCENE = Scene(
    "white",
    (
        SceneObject("circle", "red", "small", 6, 16),
        SceneObject("square", "blue", "large", 22, 15),
        SceneObject("star", "green", "small", 7, 6),
        SceneObject("star", "green", "large", 8, 26),
    ),
)
DESCRIPTION = Description(
    (Group("circle", "red", "small"), Group("square", "blue")),
    (Link(0, "left of", 1),),
    "white",
)
COUNTED = Description((Group("star", "green", None, 2), Group("circle", "red")))


def truth(text, *choices):
    return answer_query(parse_question(text), choices, SCENE.background, SCENE.objects)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Is there a circle?", "yes"),
        ("Is there a heart?", "no"),
        ("Are there stars?", "yes"),
        ("Is there a small red circle?", "yes"),
        ("Is there a large red circle?", "no"),
        ("Is the circle red?", "yes"),
        ("Is the circle blue?", "no"),
        ("Is the heart red?", "no"),
        ("Are the stars green?", "yes"),
        ("Are the stars small?", "no"),
        ("Is the star small?", "yes"),
        ("Is the square big?", "yes"),
        ("Are there exactly two stars?", "yes"),
        ("Are there exactly three stars?", "no"),
        ("Is there exactly one circle?", "yes"),
        ("Are there exactly 4 objects?", "yes"),
        ("Is the circle to the left of the square?", "yes"),
        ("Is the circle right of the square?", "no"),
        ("Is the star above the circle?", "yes"),
        ("Is the star above the heart?", "no"),
        ("Is the background white?", "yes"),
        ("Is the background black?", "no"),
        ("What color is the circle?", "red"),
        ("What colour are the stars?", "green"),
        ("What color is the heart?", "unknown"),
        ("What size is the square?", "large"),
        ("What size are the stars?", "unknown"),
        ("Which shape is blue?", "square"),
        ("Which shape is pink?", "unknown"),
        ("How many stars are there?", "2"),
        ("How many hearts are there?", "0"),
        ("Where is the circle relative to the square?", "left of"),
        ("Where is the square relative to the circle?", "right of"),
        ("What color is the background?", "white"),
        ("  is there a CIRCLE ?", "yes"),
    ],
)
def test_a_question_is_answered_as_a_person_would_from_the_scene(text, answer):
    assert truth(text) == answer


def test_an_answer_that_is_no_choice_is_unknown():
    assert truth("What color is the circle?", "blue", "green") == "unknown"


@pytest.mark.parametrize("text", ["", "Is there a dog?", "Is the circle happy?", "circle"])
def test_a_question_outside_the_language_is_refused_with_its_text(text):
    with pytest.raises(SelmaError, match="question language") as caught:
        parse_question(text)
    assert repr(text) in str(caught.value)


def test_a_dsg_graph_asks_for_everything_that_was_said_and_nothing_else():
    assert [(q.question, q.category, q.parents) for q in dsg_questions(DESCRIPTION)] == [
        ("Is there a circle?", "entity - whole", ()),
        ("Is there a square?", "entity - whole", ()),
        ("Is the circle red?", "attribute - color", (1,)),
        ("Is the circle small?", "attribute - size", (1,)),
        ("Is the square blue?", "attribute - color", (2,)),
        ("Is the circle to the left of the square?", "relation - spatial", (1, 2)),
        ("Is the background white?", "global", ()),
    ]


def test_a_dsg_graph_asks_for_all_numbers_once_a_group_has_several():
    counts = [q for q in dsg_questions(COUNTED) if q.category == "other - count"]
    assert [(q.question, q.parents) for q in counts] == [
        ("Are there exactly two stars?", (1,)),
        ("Is there exactly one circle?", (2,)),
    ]


def test_tifa_choices_hold_the_answer_once_and_no_choice_twice():
    for description in (DESCRIPTION, COUNTED):
        for question in tifa_questions(description, random.Random(1)):
            assert question.choices.count(question.answer) == 1
            assert len(set(question.choices)) == len(question.choices)


def test_the_answers_expected_of_a_scene_that_fits_are_the_true_ones():
    for description in (DESCRIPTION, COUNTED):
        dsg, tifa = dsg_questions(description), tifa_questions(description, random.Random(2))
        for question in dsg + tifa:
            assert truth(question.question, *question.choices) == question.answer
