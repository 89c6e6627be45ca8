"""Prompts get their questions; what cannot be read is asked again, kept and counted."""

from dataclasses import asdict

import pytest
from llm_options import options

from selma.core.errors import BackendError, ConfigError
from selma.llm.generators import RecordedLlm
from selma.llm.transcript import Reply, Transcript
from selma.questions.generation import METHODS, write_questions
from selma.questions.interview import BadReply
from selma.questions.prompt_files import Prompt

CUBE = Prompt("mine_1", "a purple cube", "mine")
TUPLES = "1 | entity - whole (cube)\n2 | attribute - color (cube, purple)"
NEEDS, CIRCLE = "1 | 0\n2 | 1", "1 | 2\n2 | 1"
QUESTIONS = "1 | Is there a cube?\n2 | Is the cube purple?"
SORRY = "I am sorry, I cannot do that."


class Scripted:
    """Gives the replies of a list in turn."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.requests = []
        self.seeds = []

    def generate(self, request, *, seed):
        if not self.replies:
            raise BackendError("the script is at its end")
        self.requests.append(request)
        self.seeds.append(seed)
        return self.replies.pop(0)


def write(generator, *prompts, method="dsg", retries=2, seed=0):
    done = []
    written = write_questions(
        method, prompts, generator, retries=retries, seed=seed, advance=done.append
    )
    assert done == [1] * len(prompts)
    return written


def test_a_prompt_becomes_a_benchmark_row():
    assert write(Scripted(TUPLES, NEEDS, QUESTIONS), CUBE).rows == [
        {
            "item_id": "mine_1",
            "prompt": "a purple cube",
            "source": "mine",
            "questions": [
                {
                    "question_id": 1,
                    "question": "Is there a cube?",
                    "choices": [],
                    "answer": "yes",
                    "dependency": "0",
                    "category": "whole",
                    "element": "entity - whole (cube)",
                },
                {
                    "question_id": 2,
                    "question": "Is the cube purple?",
                    "choices": [],
                    "answer": "yes",
                    "dependency": "1",
                    "category": "color",
                    "element": "attribute - color (cube, purple)",
                },
            ],
        }
    ]


def test_global_tuples_have_a_dash_for_their_category_as_in_dsg_1k():
    tuples = "1 | entity - whole (cube)\n2 | global - style (photo)"
    written = write(Scripted(tuples, "1 | 0\n2 | 0", QUESTIONS), CUBE)
    question = written.rows[0]["questions"][1]
    assert (question["category"], question["element"]) == ("-", "global - style (photo)")


def test_a_step_that_cannot_be_read_is_asked_again_with_another_seed_and_the_reason():
    generator = Scripted(TUPLES, CIRCLE, "1 | 0", NEEDS, QUESTIONS)
    written = write(generator, CUBE)
    assert not written.failures
    assert "circle" not in generator.requests[1]
    assert "the ids 1, 2 need each other in a circle." in generator.requests[2]
    assert "it has no line for id 2." in generator.requests[3]
    assert "could not be used" not in generator.requests[4]
    assert len(set(generator.seeds)) == 5
    assert asdict(written.counts) == {
        "prompts": 1, "failed": 0, "requests": 5, "unreadable": 2, "questions": 2, "dropped": {},
    }  # fmt: skip


def test_a_prompt_whose_retries_are_spent_is_a_failure_with_its_raw_replies():
    generator = Scripted(TUPLES, CIRCLE, SORRY, CIRCLE, TUPLES, NEEDS, QUESTIONS)
    other = Prompt("mine_2", "the purple cube", "mine")
    written = write(generator, CUBE, other)
    assert [row["item_id"] for row in written.rows] == ["mine_2"]
    failure = written.failures[0]
    assert (failure.item_id, failure.prompt) == ("mine_1", "a purple cube")
    circle = BadReply("dependencies", "the ids 1, 2 need each other in a circle", CIRCLE)
    sorry = BadReply("dependencies", "it has no line for id 1, 2", SORRY)
    assert failure.bad_replies == [circle, sorry, circle]
    assert (written.counts.failed, written.counts.unreadable) == (1, 3)


def test_no_retries_are_none():
    written = write(Scripted(SORRY), CUBE, retries=0)
    assert (len(written.failures), written.counts.requests) == (1, 1)


def test_what_was_dropped_is_counted_over_all_prompts():
    doubled = TUPLES + "\n3 | entity - whole (CUBE)"
    other = Prompt("mine_2", "the purple cube", "mine")
    replies = [doubled, NEEDS, QUESTIONS] * 2
    assert write(Scripted(*replies), CUBE, other).counts.dropped == {"repeated tuple": 2}


def test_tifa_is_one_request():
    reply = (
        "Element: cube\nType: object\nQuestion: What is it?\nChoices: ball, cube\nAnswer: cube\n\n"
        "Element: two\nType: counting\nQuestion: How many?\nChoices: 1, 2\nAnswer: 3\n"
    )
    written = write(Scripted(SORRY, reply), CUBE, method="tifa")
    assert written.rows[0]["questions"][0]["answer"] == "cube"
    assert (written.counts.requests, written.counts.dropped) == (2, {"answer is no choice": 1})


def test_a_restart_asks_nothing_twice(tmp_path):

    def recorded(*replies):
        script = Scripted(*replies)

        def answer(request, schema):
            return Reply(script.generate(request.text, seed=request.seed))

        return RecordedLlm(options(), answer, Transcript(tmp_path / "replies.jsonl"))

    prompts = [CUBE, Prompt("mine_2", "the purple cube", "mine")]
    script = [TUPLES, CIRCLE, NEEDS, QUESTIONS, TUPLES, NEEDS, QUESTIONS]
    with pytest.raises(BackendError):
        write(recorded(*script[:5]), *prompts)
    resumed = write(recorded(*script[5:]), *prompts)
    again = write(recorded(), *prompts)
    assert again == resumed
    assert resumed == write(Scripted(*script), *prompts)


def test_seeds_follow_from_the_prompt_and_not_from_its_place_or_item():
    seeds = []
    for prompt, root in (
        (CUBE, 0),
        (Prompt("other", "a purple cube", "x"), 0),
        (Prompt("mine_1", "a red cube", "mine"), 0),
        (CUBE, 1),
    ):
        generator = Scripted(TUPLES, NEEDS, QUESTIONS)
        write(generator, prompt, seed=root)
        seeds.append(tuple(generator.seeds))
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3


def test_each_method_names_the_versions_of_its_requests():
    assert set(METHODS["dsg"].request_versions()) == {"tuples", "dependencies", "questions"}
    assert set(METHODS["tifa"].request_versions()) == {"choices"}


def test_an_unknown_method_lists_those_there_are():
    with pytest.raises(ConfigError, match="dsg, tifa"):
        write(Scripted(), method="vqascore")
