"""A reply that cannot be used is its own picture's verdict; the others of a batch stay unharmed."""

from dataclasses import replace

import pytest
from malformed_replies import LAYOUTS, SCENES
from toy_world import WAY, llm, picture, squares_of, task, tools

from selma.correction.correcting import correct_batch
from selma.correction.replies import ReplyLimits

GOOD, ODD = "A picture with two squares", "two squares, as somebody else would have them"
ONE = picture(("red", 0, 0))
ROUND = replace(WAY, options=replace(WAY.options, rounds=1), limits=ReplyLimits(30, 20000))


def batch(tmp_path, answer):
    """Correct a picture about which an LLM answers so, between two good ones."""
    prompts = (GOOD, ODD, GOOD)
    tasks = [task(ONE, prompt, seed) for seed, prompt in enumerate(prompts)]
    return correct_batch(tasks, tools(tmp_path, answer=answer), ROUND)


def answering(malformed, step):
    """An LLM that replies with something malformed to one step of the odd prompt."""

    def answer(request):
        asked = request.text.split("User Prompt: ")[-1]
        is_layout = "Current Objects" in asked
        if ODD in asked and is_layout is (step == "layout"):
            return malformed.reply
        return llm(request)

    return answer


def check_others(first, odd, last):
    for one in (first, last):
        assert one.trace.verdict == "fixed" and len(squares_of(one.picture)) == 2
        assert [said.refused for said in one.said] == ["", ""]
    assert not odd.unanswered  # it did answer


CASES = [("layout", kind) for kind in LAYOUTS] + [("scene", kind) for kind in SCENES]


@pytest.mark.parametrize(
    ("step", "kind"), [(step, kind) for step, kind in CASES if {**LAYOUTS, **SCENES}[kind].reason]
)
def test_a_malformed_reply_is_a_verdict_and_the_other_pictures_are_corrected(tmp_path, step, kind):
    malformed = (LAYOUTS if step == "layout" else SCENES)[kind]
    first, odd, last = batch(tmp_path, answering(malformed, step))
    check_others(first, odd, last)
    assert odd.trace.verdict == "failed" and malformed.reason in odd.trace.failure
    assert odd.picture is ONE and odd.edited == ()
    refused = [said for said in odd.said if said.refused]
    assert len(refused) == ROUND.retries + 1
    assert {said.reply for said in refused} == {malformed.reply}
    assert " ".join(refused[0].refused.split()) in refused[1].request  # it is told why


def test_a_box_that_sticks_out_is_cut_and_the_picture_edited(tmp_path):
    first, odd, last = batch(tmp_path, answering(LAYOUTS["a box that sticks out"], "layout"))
    check_others(first, odd, last)
    assert odd.trace.verdict == "fixed" and squares_of(odd.picture) == {("green", 3, 0)}
    assert odd.trace.rounds[0].suggestion.clamped == {"square #1": [0.75, -0.25, 0.5, 0.5]}


def test_an_object_that_the_prompt_does_not_name_is_one_to_add(tmp_path):
    first, odd, last = batch(tmp_path, answering(LAYOUTS["an object nobody asked for"], "layout"))
    check_others(first, odd, last)
    assert odd.trace.verdict == "edited"
    assert odd.trace.operations() == {"remove": 1, "add": 1, "move": 0, "attribute": 0}
    (added,) = odd.trace.rounds[0].plan.add
    assert added.name == "../owned<b>unicorn</b> #1"
