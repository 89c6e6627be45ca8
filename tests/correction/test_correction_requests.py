"""What an LLM is asked: its examples keep its own rules, and a bad reply is asked for again."""

import re

import pytest

from selma.core.errors import ConfigError, ReplyError
from selma.correction.asking import Conversation
from selma.correction.layout import check_layout
from selma.correction.plan import plan
from selma.correction.replies import ReplyLimits, parse_layout, parse_scene
from selma.correction.requests import (
    MODES,
    REQUEST_VERSIONS,
    instructions,
    layout_request,
    parse_request,
)  # fmt: skip
from selma.correction.scene import make_scene

LIMITS = ReplyLimits(objects_max=30, bytes_max=4000)
DOG = check_layout([("dog #1", [0.1, 0.2, 0.3, 0.4])], [], 30).layout


def examples(step):
    """The examples of an instruction text, as request lines and reply."""
    parts = instructions(step).split("\nUser Prompt: ")[1:]
    return [part.split("\nReasoning:") for part in parts]


@pytest.mark.parametrize("step", REQUEST_VERSIONS)
def test_each_text_has_examples_of_one_form(step):
    given = examples(step)
    assert len(given) >= 5
    for request, reply in given:
        assert request.count("\n") == (0 if step == "parse" else 1)
        assert reply.strip().count("\n") in ((2, 3) if step == "parse" else (1,))
        assert reply.startswith(" ")


def test_the_parsers_examples_are_read_by_its_own_grammar():
    scenes = [parse_scene("Reasoning:" + reply, LIMITS) for _, reply in examples("parse")]
    assert scenes[1].entries() == [("kayak", ["long and yellow", "red"]), ("paddle", [None])]
    assert scenes[3].background == "A watercolor in a snowy valley"
    assert [scene.negation for scene in scenes] == ["", "", "", "", "teapot", "cage"]


OPERATIONS = {  # of the examples, in their order: remove, add, move, attribute
    "correct": [(0, 1, 0, 0), (0, 1, 2, 0), (1, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0)],
    "edit": [(0, 0, 1, 0), (0, 0, 2, 0), (0, 0, 0, 1), (1, 0, 0, 0), (0, 1, 0, 0)],
}


@pytest.mark.parametrize("mode", MODES)
def test_the_controllers_examples_do_what_they_say_and_keep_what_they_should(mode):
    counts = []
    for request, reply in examples(mode):
        shown = request.split("Current Objects: ")[1]
        current = parse_layout(f"Updated Objects: {shown}", [], LIMITS).layout
        nouns = [one.label.noun for one in current]
        goal = parse_layout(reply, nouns, LIMITS)
        assert not goal.clamped
        counts.append(tuple(plan(current, goal.layout).counts().values()))
    assert counts == OPERATIONS[mode]


def test_a_request_ends_in_the_prompt_and_the_current_objects():
    assert parse_request("a\n dog", "").endswith("\nUser Prompt: a dog\nReasoning:\n")
    text = layout_request("edit", "a dog", DOG, "")
    assert text.endswith(
        '\nUser Prompt: a dog\nCurrent Objects: [("dog #1", [0.1, 0.2, 0.3, 0.4])]\nReasoning:\n'
    )
    assert text.startswith(instructions("edit"))
    with pytest.raises(ConfigError, match="unknown mode 'repair'"):
        layout_request("repair", "a dog", DOG, "")


def test_names_from_a_prompt_cannot_break_out_of_their_quotes():
    (dog,) = check_layout([('say "hi" \\ dog #1', [0, 0, 1, 1])], ["dog"], 30).layout
    line = re.findall("^Current Objects: (.*)$", layout_request("edit", "", (dog,), ""), re.M)[-1]
    assert parse_layout(f"Updated Objects: {line}", ["dog"], LIMITS).layout == (dog,)


class Writer:
    """An LLM that gives its replies one after the other."""

    def __init__(self, *replies):
        self.replies, self.asked = list(replies), []

    def generate(self, request, *, seed):
        self.asked.append((request, seed))
        return self.replies.pop(0)


def conversation(writer, retries=2):
    return Conversation(writer, "a black dog", retries, 7, LIMITS)


SCENE = make_scene([("dog", ["black"])], "", "")
GOOD = "Updated Objects: [('black dog #1', [0.1, 0.2, 0.3, 0.4])]"


def test_a_bad_reply_is_asked_for_again_with_what_was_wrong_and_another_seed():
    writer = Writer("No idea.", "Updated Objects: [('black dog #1', [0.1, 0.2, 0, 0.4])]", GOOD)
    talk = conversation(writer)
    (dog,) = talk.layout("correct", SCENE, DOG, 1).layout
    assert dog.label.noun == "dog" and dog.label.attribute == "black"
    first, second, third = (request for request, _ in writer.asked)
    assert "could not be used" not in first
    assert "could not be used: there is no list behind 'Updated Objects:'." in second
    assert "width and height must be above 0" in third
    assert len({seed for _, seed in writer.asked}) == 3
    assert [one.refused for one in talk.exchanges][2] == "" and len(talk.exchanges) == 3
    assert [one.reply for one in talk.exchanges][0] == "No idea."


def test_after_the_last_try_the_reply_is_given_up():
    talk = conversation(Writer(*["Sorry."] * 3))
    with pytest.raises(ReplyError, match="no list"):
        talk.scene()
    assert len(talk.exchanges) == 3 and all(one.refused for one in talk.exchanges)


def test_seeds_follow_from_the_picture_the_step_and_the_round():
    writers = [Writer(GOOD, GOOD) for _ in range(2)]
    for writer in writers:
        talk = conversation(writer)
        talk.layout("correct", SCENE, DOG, 1)
        talk.layout("correct", SCENE, DOG, 2)
    seeds = [[seed for _, seed in writer.asked] for writer in writers]
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == 2
