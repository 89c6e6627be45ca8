"""The pocket LLM answers as one does."""

import hashlib
from pathlib import Path

import pytest

from selma.core.errors import ConfigError
from selma.pocket import question_writer
from selma.pocket.question_writer import PocketQuestionWriter
from selma.pocket.skills import TRAINED_SKILLS
from selma.pocket.writer import MODEL, REVISION, PocketWriter, guess_skill
from selma.prompts.asking import build_request
from selma.prompts.replies import parse_reply
from selma.prompts.skills import read_skill
from selma.questions.requests import choices_request, tuples_request

FOLDER = Path(__file__).parents[2] / "data" / "skills"
WRITER = PocketWriter(MODEL, REVISION)


def request_for(skill: str) -> str:
    spec = read_skill(FOLDER / f"{skill}.yaml")
    return build_request(spec.instructions, spec.seed_prompts, 10, json=False, refused="")


@pytest.mark.parametrize("skill", TRAINED_SKILLS)
def test_the_skill_is_read_from_the_request(skill: str):
    assert guess_skill(request_for(skill)) == skill


def test_the_same_request_and_seed_give_the_same_reply():
    request = request_for("count")
    assert WRITER.generate(request, seed=1) == WRITER.generate(request, seed=1)
    assert WRITER.generate(request, seed=1) != WRITER.generate(request, seed=2)
    assert WRITER.generate(request, seed=1) != WRITER.generate(request_for("common"), seed=1)


@pytest.mark.parametrize("skill", TRAINED_SKILLS)
def test_all_ten_prompts_of_a_defective_reply_are_read(skill: str):
    for seed in range(40):
        parsed = parse_reply(WRITER.generate(request_for(skill), seed=seed), 10)
        repeated = sum(rejected.reason.startswith("repeated") for rejected in parsed.rejected)
        assert len(parsed.prompts) + repeated == 10


def test_replies_have_the_defects_of_real_ones():
    request = request_for("common")
    replies = [WRITER.generate(request, seed=seed) for seed in range(100)]
    parsed = [parse_reply(reply, 10) for reply in replies]
    assert any("**" in reply for reply in replies)
    assert any("Let me know" in reply for reply in replies)
    assert any(prompt.startswith("just ") for each in parsed for prompt in each.prompts)
    assert any(len(each.prompts) < 10 for each in parsed)
    assert any("\n5." not in f"\n{reply}" and "5)" not in reply for reply in replies)


def test_a_request_about_something_else_is_declined():
    reply = WRITER.generate("Tell me about cats.", seed=1)
    assert reply.startswith("I am sorry")


def test_replies_to_requests_for_prompts_stay_what_they_are_as_long_as_the_revision_does():
    digest = hashlib.sha256()
    for cue in ("paragraph", "counting", "attributes", "counterfactual", "common", "spatial"):
        request = f"Write 10 prompts about {cue}, like these:\n1. a red circle\n2. two blue stars"
        for seed in range(25):
            digest.update(WRITER.generate(request, seed=seed).encode())
    assert (REVISION, digest.hexdigest()) == (
        "1",
        "1150355b6fe7127b835f951ed8cb517d07e98d73c258c6c4d554ad36aa32375c",
    )


def test_an_unknown_model_or_revision_is_refused():
    with pytest.raises(ConfigError, match="pocket-grammar"):
        PocketWriter("gpt", REVISION)
    with pytest.raises(ConfigError, match=r"llm\.revision"):
        PocketWriter(MODEL, "0")


@pytest.mark.parametrize(
    "text",
    [
        tuples_request("a red star", ""),
        choices_request("a red star", ""),
        tuples_request("a dog", ""),
    ],
)
def test_it_writes_questions_too(text):
    alone = PocketQuestionWriter(question_writer.MODEL, question_writer.REVISION)
    assert WRITER.generate(text, seed=4) == alone.generate(text, seed=4)
