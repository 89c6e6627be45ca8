"""The requests hold what a step needs, and examples that are in no benchmark."""

import csv
import json
import re
from pathlib import Path

import pytest

from selma.questions.dsg import parse_dependencies, parse_questions, parse_tuples
from selma.questions.requests import (
    REQUEST_VERSIONS,
    choices_request,
    dependencies_request,
    questions_request,
    tuples_request,
)
from selma.questions.tifa import parse_choices

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "eval"
TUPLES = ["entity - whole (cube)", "attribute - color (cube, purple)"]
PROMPT = "a purple\n  cube"
REQUESTS = {
    "tuples": lambda refused="": tuples_request(PROMPT, refused),
    "dependencies": lambda refused="": dependencies_request(PROMPT, TUPLES, refused),
    "questions": lambda refused="": questions_request(PROMPT, TUPLES, refused),
    "choices": lambda refused="": choices_request(PROMPT, refused),
}
ENDINGS = {
    "tuples": "\nPrompt: a purple cube\nTuples:\n",
    "dependencies": f"\nPrompt: a purple cube\nTuples:\n1 | {TUPLES[0]}\n2 | {TUPLES[1]}\n"
    "Dependencies:\n",
    "questions": f"\nPrompt: a purple cube\nTuples:\n1 | {TUPLES[0]}\n2 | {TUPLES[1]}\n"
    "Questions:\n",
    "choices": "\nCaption: a purple cube\n",
}


@pytest.mark.parametrize("step", sorted(REQUEST_VERSIONS))
def test_a_request_ends_with_what_is_asked_about_on_lines_of_its_own(step):
    assert REQUESTS[step]().endswith(ENDINGS[step])


@pytest.mark.parametrize("step", sorted(REQUEST_VERSIONS))
def test_a_second_request_tells_what_was_wrong_and_ends_in_the_same_way(step):
    request = REQUESTS[step]("it has no line\nfor id 3")
    assert "could not be used: it has no line for id 3." in request
    assert request.endswith(ENDINGS[step])
    assert "could not be used" not in REQUESTS[step]()


def example_prompts():
    texts = "\n".join(request() for request in REQUESTS.values())
    found = set(re.findall(r"^(?:Prompt|Caption): (.+)$", texts, re.MULTILINE))
    return sorted(found - {"a purple cube"})


def test_the_examples_are_replies_that_can_be_read():
    for example in tuples_request("x", "").split("\nPrompt: ")[1:3]:
        parse_tuples(example.split("Tuples:\n")[1])
    shown = re.findall(r"Tuples:\n(.+?)Dependencies:\n(.+?)\n\n", REQUESTS["dependencies"](), re.S)
    tuples, repeats = parse_tuples(shown[0][0])
    assert (len(tuples), repeats) == (6, 0)
    assert parse_dependencies(shown[0][1], 6)[5] == (1, 2)
    shown = re.findall(r"Tuples:\n(.+?)Questions:\n(.+?)\n\n", REQUESTS["questions"](), re.S)
    assert len(parse_questions(shown[0][1], parse_tuples(shown[0][0])[0])) == 6
    quiz = parse_choices(choices_request("x", "").split("Caption: ")[1])
    assert (len(quiz.rows), quiz.dropped) == (5, {})


def test_no_example_is_a_prompt_of_dsg_1k_or_tifa():
    if not DATA.exists():
        pytest.skip(f"{DATA} is not there")
    with (DATA / "dsg-1k-anns.csv").open(encoding="utf-8", newline="") as handle:
        known = {row["text"] for row in csv.DictReader(handle)}
    items = json.loads((DATA / "tifa_v1.0_text_inputs.json").read_text(encoding="utf-8"))
    known |= {item["caption"] for item in items}
    plain = {" ".join(re.findall(r"\w+", text.lower())) for text in known}
    examples = example_prompts()
    assert len(examples) >= 2
    assert not [text for text in examples if " ".join(re.findall(r"\w+", text.lower())) in plain]
