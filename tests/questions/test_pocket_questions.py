"""The pocket LLM answers for pocket captions, so that the whole path runs without a network."""

import random

import pytest

from selma.core.errors import ConfigError
from selma.foundation.benchmarks import benchmark_rows
from selma.pocket.caption_reading import read_caption
from selma.pocket.captions import Description, Group, Link
from selma.pocket.question_sets import dsg_questions, tifa_questions
from selma.pocket.question_writer import MODEL, REVISION, PocketQuestionWriter, tuple_text
from selma.pocket.skills import DRAW, write_prompt
from selma.questions.generation import write_questions
from selma.questions.prompt_files import Prompt
from selma.questions.requests import questions_request, tuples_request

WRITER = PocketQuestionWriter(MODEL, REVISION)


def benchmark(name):
    return {row["item_id"]: row for row in benchmark_rows(name, items_per_skill=20, seed=3)}


def written(method, rows, seed=0):
    prompts = [Prompt(row["item_id"], row["prompt"], row["source"]) for row in rows]
    return write_questions(method, prompts, WRITER, retries=6, seed=seed, advance=lambda _: None)


@pytest.mark.parametrize("skill", sorted(DRAW))
def test_a_caption_is_read_back_into_what_it_was_written_from(skill):
    rng = random.Random(11)
    for _ in range(500):
        description = DRAW[skill](rng)
        assert read_caption(write_prompt(skill, description, rng)) == description


@pytest.mark.parametrize(
    ("caption", "description"),
    [
        ("a red star", Description((Group("star", "red"),))),
        ("3 big rings, white background",
         Description((Group("ring", None, "large", 3),), (), "white")),
        (
            "a star with an orange ring under it",
            Description((Group("ring", "orange"), Group("star")), (Link(0, "below", 1),)),
        ),
    ],
)  # fmt: skip
def test_captions_mean_what_a_person_would_say_they_mean(caption, description):
    assert read_caption(caption) == description


@pytest.mark.parametrize(
    "caption",
    ["", "a dog", "a red star and a dog", "a furry red star", "a white background", "above a star"],
)
def test_a_caption_from_outside_the_pocket_world_is_not_understood(caption):
    assert read_caption(caption) is None
    assert WRITER.generate(tuples_request(caption, ""), seed=1).startswith("I am sorry")


def test_the_written_dsg_questions_are_those_of_the_pocket_benchmark():
    rows = benchmark("pocket-dsg")
    result = written("dsg", rows.values())
    assert not result.failures
    assert result.counts.unreadable > 0  # the pocket LLM did make mistakes
    assert result.counts.requests == 3 * len(rows) + result.counts.unreadable
    for row in result.rows:
        wanted = rows[row["item_id"]]["questions"]
        for name in ("question_id", "question", "answer", "dependency"):
            assert [q[name] for q in row["questions"]] == [q[name] for q in wanted]
        # The element's type is the benchmark's category, but for what comes after "global".
        types = [q["element"].split(" (")[0].replace(" - background", "") for q in row["questions"]]
        assert types == [q["category"] for q in wanted]


def test_the_written_tifa_questions_are_those_of_the_description_less_the_dropped():
    rows = benchmark("pocket-tifa")
    result = written("tifa", rows.values())
    assert not result.failures
    assert set(result.counts.dropped) == {"answer is no choice"}
    expected = 0
    for row in result.rows:
        wanted = tifa_questions(read_caption(row["prompt"]), random.Random(0))
        known = {(q.question, q.answer, q.category) for q in wanted}
        expected += len(wanted)
        for question in row["questions"]:
            assert (question["question"], question["answer"], question["category"]) in known
            assert question["answer"] in question["choices"]
    assert result.counts.questions + result.counts.dropped["answer is no choice"] == expected


def test_what_is_written_for_a_prompt_does_not_depend_on_the_other_prompts():
    rows = list(benchmark("pocket-dsg").values())[:20]
    whole, part = written("dsg", rows).rows, written("dsg", rows[::-3]).rows
    by_id = {row["item_id"]: row for row in whole}
    assert part == [by_id[row["item_id"]] for row in part]


def test_tuples_are_told_as_dsg_tells_them():
    description = Description(
        (Group("star", "red", "small"), Group("ring", "blue")), (Link(1, "above", 0),), "white"
    )
    assert [tuple_text(description, question) for question in dsg_questions(description)] == [
        "entity - whole (star)",
        "entity - whole (ring)",
        "attribute - color (star, red)",
        "attribute - size (star, small)",
        "attribute - color (ring, blue)",
        "relation - spatial (ring, star, above)",
        "global - background (white)",
    ]


def test_tuples_that_do_not_belong_to_the_caption_are_declined():
    request = questions_request("a red star", ["entity - whole (ring)"], "")
    assert WRITER.generate(request, seed=1).startswith("I am sorry")


def test_the_same_request_and_seed_give_the_same_reply():
    request = tuples_request("a red star and two blue rings", "")
    assert WRITER.generate(request, seed=4) == WRITER.generate(request, seed=4)
    assert len({WRITER.generate(request, seed=seed) for seed in range(30)}) > 5


def test_an_unknown_model_or_revision_is_refused():
    with pytest.raises(ConfigError, match="pocket-questions"):
        PocketQuestionWriter("gpt", REVISION)
    with pytest.raises(ConfigError, match="revision '1'"):
        PocketQuestionWriter(MODEL, "0")
