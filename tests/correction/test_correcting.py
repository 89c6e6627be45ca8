"""Many pictures are corrected at once, and what becomes of one does not depend on the others."""

from dataclasses import replace

import pytest
from toy_world import WAY, WORDS, Paints, SeesAll, llm, picture, squares_of, task, tools

from selma.core.errors import BackendError, BudgetError
from selma.correction.correcting import LlmWatch, correct_batch, known_rule
from selma.correction.predicates import Count
from selma.correction.scene import make_scene

TWO = "A picture with two squares"
PAIR = "A picture with a red square and a blue square"
NONE = "A picture without squares"
ONE = picture(("red", 0, 0))


def verdicts(done):
    return [one.trace.verdict for one in done]


def test_every_kind_of_operation_mends_a_picture(tmp_path):
    """Too few, too many, forbidden, of another color; and one that is right."""
    three = picture(("red", 0, 0), ("red", 1, 0), ("green", 3, 3))
    tasks = [
        task(ONE, TWO), task(three, TWO), task(ONE, NONE),
        task(picture(("red", 0, 0), ("green", 1, 0)), PAIR), task(picture(("red", 2, 0)), TWO),
        task(picture(("blue", 0, 0), ("blue", 1, 1)), TWO),
    ]  # fmt: skip
    done = correct_batch(tasks, tools(tmp_path), WAY)
    assert verdicts(done) == ["fixed"] * 5 + ["pass_before"]
    assert [len(squares_of(one.picture)) for one in done] == [2, 2, 0, 2, 2, 2]
    assert squares_of(done[3].picture) == {("red", 0, 0), ("blue", 1, 0)}
    used = {kind for one in done for kind, n in one.trace.operations().items() if n}
    assert used == {"add", "remove", "move", "attribute"}
    assert done[5].picture is tasks[5].picture and done[5].edited == ()
    assert [one.passes_after for one in done] == [True] * 6


def test_all_pictures_are_first_looked_at_together(tmp_path):
    detector = SeesAll()
    tasks = [task(picture(("red", n, 0), ("red", n, 1)), TWO) for n in range(4)]
    correct_batch(tasks, tools(tmp_path, detector=detector), WAY)
    assert detector.calls == [4, 4]  # labels with attributes, then nouns


@pytest.mark.parametrize("concurrency", [1, 3])
def test_what_becomes_of_a_picture_does_not_depend_on_the_others(tmp_path, concurrency):
    tasks = [task(picture(("red", n, 0)), text, n) for n, text in enumerate((TWO, PAIR, NONE))]
    way = replace(WAY, concurrency=concurrency)
    together = correct_batch(tasks, tools(tmp_path / "a"), way)
    alone = [correct_batch([one], tools(tmp_path / "b"), way)[0] for one in reversed(tasks)][::-1]
    for one, other in zip(together, alone, strict=True):
        assert one.trace.as_json(one.said) == other.trace.as_json(other.said)
        assert one.picture.tobytes() == other.picture.tobytes()
        assert one.recorded == other.recorded


def test_what_fails_for_one_picture_is_its_verdict_and_stops_no_other(tmp_path):
    odd = picture(("blue", 3, 3))
    hand = Paints(broken=[f"{TWO} please"])
    rude = f"{TWO} nonsense"
    tasks = [task(ONE, TWO), task(odd, TWO), task(ONE, rude), task(ONE, f"{TWO} please")]
    used = tools(tmp_path, detector=SeesAll(broken=[odd]), editor=hand)
    done = correct_batch(tasks, used, WAY)
    assert verdicts(done) == ["fixed", "failed", "failed", "failed"]
    reasons = [one.trace.failure for one in done]
    assert reasons[1] == "the detector choked" and reasons[3] == "the editor choked"
    assert (
        "Objects:" in reasons[2]
        and [said.reply for said in done[2].said] == ["I had rather not."] * 2
    )
    assert all(one.picture is t.picture for one, t in zip(done[1:], tasks[1:], strict=True))
    assert not any(one.unanswered for one in done)
    assert done[3].trace.rounds[0].plan.counts()["add"] == 1  # the plan that was not carried out


def test_an_llm_that_fails_is_told_from_a_reply_that_cannot_be_read(tmp_path):
    def refusing(request):
        if "blue" in request.text.split("User Prompt: ")[-1]:
            raise BackendError("the server refused")
        return llm(request)

    done = correct_batch([task(ONE, PAIR), task(ONE, TWO)], tools(tmp_path, answer=refusing), WAY)
    assert verdicts(done) == ["failed", "fixed"]
    assert [one.unanswered for one in done] == [True, False]
    watch = LlmWatch()
    with pytest.raises(BackendError, match="refused"):
        watch.look(done[0].trace.failure, 0)
    watch.look("", 2)
    watch.look("the server refused", 0)  # it answers others


def test_a_spent_budget_stops_all(tmp_path):
    def spent(request):
        raise BudgetError("llm.budget_usd: $5 of $5 are spent")

    with pytest.raises(BudgetError):
        correct_batch([task(ONE, TWO)], tools(tmp_path, answer=spent), WAY)
    given = task(ONE, TWO, scene=make_scene([("square", [None, None])], "", ""))
    with pytest.raises(BudgetError):
        correct_batch([given], tools(tmp_path, answer=spent), WAY)


def test_a_scene_and_a_layout_that_are_given_ask_no_llm(tmp_path):
    scene = make_scene([("square", ["red", "blue"])], "A picture", "")
    goal = [["red square #1", [0, 0, 0.25, 0.25]], ["blue square #1", [0.5, 0.5, 0.25, 0.25]]]
    wrong = [["red square", [0, 0, 0.25, 0.25]]]
    done = correct_batch(
        [task(ONE, PAIR, scene=scene, suggestion=one) for one in (goal, wrong, goal * 5)],
        tools(tmp_path), WAY,
    )  # fmt: skip
    assert verdicts(done) == ["fixed", "failed", "failed"]
    assert squares_of(done[0].picture) == {("red", 0, 0), ("blue", 2, 2)}
    assert all(one.said == () and one.recorded == () for one in done)
    assert "a name like 'dog #1'" in done[1].trace.failure
    assert "10 objects are too many; give at most 8" in done[2].trace.failure


def test_plans_alone_leave_pictures_as_they_are(tmp_path):
    done = correct_batch(
        [task(ONE, TWO), task(ONE, "one thing")], tools(tmp_path, editor=None), WAY
    )
    assert verdicts(done) == ["planned", "planned"]
    assert done[0].picture is ONE and done[0].trace.rounds[0].plan.counts()["add"] == 1
    assert sum(done[0].trace.operations().values()) == 0


def test_a_rule_is_applied_to_its_own_labels_whatever_the_llm_reads(tmp_path):
    """An LLM that reads "discs" in a prompt without squares does not let squares pass."""
    scene = make_scene([("discs", [None])], "A picture", "")
    done = correct_batch([task(ONE, NONE, scene=scene, suggestion=[])], tools(tmp_path), WAY)
    assert done[0].trace.before.passes is False and verdicts(done) == ["unchanged"]


def test_a_rule_is_known_for_the_benchmarks_prompts_alone():
    assert known_rule(TWO, WORDS) == Count("square", 2)
    assert known_rule("two squares", WORDS) is None
