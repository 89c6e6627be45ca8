"""The rounds stop when they should, never make a picture worse, and leave a whole trace."""

import json
from dataclasses import replace

import pytest

from selma.core.errors import ReplyError
from selma.core.files import write_json
from selma.correction.asking import Conversation
from selma.correction.detections import Detection
from selma.correction.layout import Box, check_layout
from selma.correction.loop import KEEP, VERDICTS, Options, Steps, best_round, correct
from selma.correction.plan import plan
from selma.correction.predicates import Count
from selma.correction.replies import ReplyLimits
from selma.correction.scoring import Matched, layout_passes, match_layouts, score_edit
from selma.correction.trace import Look, Trace

OPTIONS = Options(rounds=3, stop_on_pass=True, duplicate_iou=0.7, edit_iou=0.5)
RULE = Count("dog", 2)
BOXES = [[0.05, 0.1, 0.2, 0.2], [0.35, 0.1, 0.2, 0.2], [0.65, 0.1, 0.2, 0.2]]


class Writer:
    """An LLM that reads the scene well and wants as many dogs as it is told to, round by round."""

    def __init__(self, wanted):
        self.wanted = list(wanted)

    def generate(self, request, *, seed):
        if "Current Objects" not in request.split("User Prompt:")[-1]:
            return "Objects: [('dog', [None, None])]\nBackground:\nNegation:"
        number = self.wanted.pop(0) if self.wanted else None
        if number is None:
            return "I do not know."
        dogs = [(f"dog #{k + 1}", BOXES[k]) for k in range(number)]
        return f"Updated Objects: {dogs}"


def run(picture, wanted, *, options=OPTIONS, edited=None, rule=RULE, seed=5):
    """Correct a picture, which is the list of its dogs' boxes.

    `edited` are the pictures that the editor makes, round by round; None: those it should.
    """
    talk = Conversation(Writer(wanted), "two dogs", 1, seed, ReplyLimits(30, 4000))
    made, jobs = list(edited or []), []

    def edit(before, job):
        jobs.append(job)
        return made.pop(0) if edited else [one.box for one in job.goal]

    steps = Steps(
        read=talk.scene,
        detect=lambda boxes, scene: [
            Detection(scene.objects[0].label, box, 0.9 - n / 10) for n, box in enumerate(boxes)
        ],
        suggest=lambda scene, current, number: talk.layout("correct", scene, current, number),
        edit=edit,
        passes=None if rule is None else lambda boxes, found: rule.passes(found),
        goal_passes=None if rule is None else lambda goal: layout_passes(rule, goal),
    )
    trace = Trace("two dogs", "correct", seed)
    result = correct(picture, steps, options, trace)
    return result, trace, jobs, talk


def dogs(number):
    return [Box(*box) for box in BOXES[:number]]


def test_a_picture_that_passes_is_left_alone():
    result, trace, jobs, talk = run(dogs(2), [3])
    assert result == dogs(2) and trace.verdict == "pass_before"
    assert jobs == [] and [one.step for one in talk.exchanges] == ["parse"]


def test_the_rounds_end_when_the_picture_passes():
    result, trace, jobs, _ = run(dogs(1), [2, 3, 3])
    assert result == dogs(2) and trace.verdict == "fixed" and trace.chosen_round == 1
    assert [job.plan.counts()["add"] for job in jobs] == [1]
    assert trace.operations() == {"remove": 0, "add": 1, "move": 0, "attribute": 0}


def test_the_rounds_end_when_nothing_is_left_to_do():
    result, trace, jobs, _ = run(dogs(1), [1, 2])
    assert result == dogs(1) and trace.verdict == "unchanged"
    assert jobs == [] and len(trace.rounds) == 1 and trace.rounds[0].plan.is_empty


def test_the_rounds_end_after_their_number():
    result, trace, jobs, _ = run(dogs(0), [1, 3, 1, 2], options=replace(OPTIONS, rounds=3))
    assert len(jobs) == 3 and trace.verdict == "edited" and result == dogs(1)
    assert len({job.seed for job in jobs}) == 3


def test_a_second_round_mends_what_the_first_did_not():
    result, trace, jobs, _ = run(dogs(0), [2, 2], edited=[dogs(1), dogs(2)])
    assert result == dogs(2) and trace.verdict == "fixed" and trace.chosen_round == 2
    assert [one.plan_passes for one in trace.rounds] == [True, True]
    assert [one.edit["add"].done for one in trace.rounds] == [1, 1]
    assert [one.edit["add"].asked for one in trace.rounds] == [2, 1]


def test_what_passed_is_never_made_worse():
    going_on = replace(OPTIONS, rounds=1, stop_on_pass=False)
    result, trace, jobs, _ = run(dogs(2), [3], options=going_on)
    assert len(jobs) == 1 and result == dogs(2) and trace.verdict == "worse"
    assert trace.chosen_round == 0 and sum(trace.operations().values()) == 0


def test_the_last_picture_that_passes_is_the_result():
    going_on = replace(OPTIONS, rounds=2, stop_on_pass=False)
    result, trace, _, _ = run(dogs(1), [2, 3], options=going_on)
    assert result == dogs(2) and (trace.verdict, trace.chosen_round) == ("fixed", 1)


def test_without_a_rule_a_picture_is_fixed_once_all_of_the_last_edit_is_seen_done():
    once = replace(OPTIONS, rounds=1)
    for made, verdict in ((dogs(3), "fixed"), (dogs(2), "edited")):
        result, trace, _, _ = run(dogs(1), [3], options=once, edited=[made], rule=None)
        assert result == made and trace.verdict == verdict


@pytest.mark.parametrize(
    ("passes", "chosen"),
    [
        ([False], 0), ([True, False], 0), ([False, False], 1), ([False, True, False], 1),
        ([False, True, True], 2), ([None, None], 1), ([False, "nothing"], 0), (["nothing"], 0),
        ([True, "nothing"], 0),
    ],
)  # fmt: skip
def test_the_result_is_the_last_round_that_passes_or_else_the_last_one_seen(passes, chosen):
    assert best_round([None if p == "nothing" else Look((), (), p) for p in passes]) == chosen


def test_without_rounds_nothing_is_looked_at_or_asked():
    picture = dogs(1)
    result, trace, _, talk = run(picture, [2], options=replace(OPTIONS, rounds=0))
    assert result is picture and trace.verdict == "skipped" and talk.exchanges == []


def test_replies_that_cannot_be_used_let_the_picture_pass_through():
    picture = dogs(1)
    result, trace, jobs, talk = run(picture, [])
    assert result is picture and trace.verdict == "failed" and jobs == []
    assert "no list behind 'Updated Objects:'" in trace.failure
    assert [bool(one.refused) for one in talk.exchanges] == [False, True, True]


def test_a_failure_in_a_later_round_keeps_what_was_done():
    result, trace, _, _ = run(dogs(0), [1])
    assert result == dogs(1) and (trace.verdict, trace.chosen_round) == ("failed", 1)


def test_without_a_rule_the_llm_says_when_it_is_done():
    result, trace, _, _ = run(dogs(1), [2, 2], rule=None)
    assert result == dogs(2) and trace.verdict == "fixed"
    assert trace.before.passes is None and trace.rounds[0].plan_passes is None


def test_the_trace_is_json_with_every_word_and_the_same_for_the_same_seed(tmp_path):
    texts = []
    for name in ("one.json", "other.json"):
        _, trace, _, talk = run(dogs(1), [2])
        write_json(tmp_path / name, trace.as_json(talk.exchanges))
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    kept = json.loads(texts[0])
    assert kept["scene"]["objects"] == [["dog", [None, None]]]
    assert kept["before"]["layout"] == [["dog #1", BOXES[0]]]
    assert kept["before"]["detections"] == [{"label": "dog", "box": BOXES[0], "score": 0.9}]
    (one,) = kept["rounds"]
    assert one["plan"]["add"] == ["dog #2"] and one["plan"]["preserve"] == [["dog #1", "dog #1"]]
    assert one["edit"]["add"] == {"asked": 1, "done": 1} and one["after"]["passes"] is True
    assert [e["step"] for e in kept["llm"]] == ["parse", "correct 1"]
    assert all(e["request"] and e["reply"] for e in kept["llm"])


def test_what_is_kept_with_each_verdict():
    kept = {policy: {v: choose(v) for v in VERDICTS} for policy, choose in KEEP.items()}
    assert set(kept["all"].values()) == {"result"}
    assert {v for v, what in kept["passing"].items() if what} == {"pass_before", "fixed"}
    assert {v for v, what in kept["fixed_or_original"].items() if what == "result"} == {"fixed"}
    assert kept["fixed_or_original"]["failed"] == "original"


def test_an_error_that_is_no_bad_reply_is_not_swallowed():
    def broken():
        raise OSError("disk")

    steps = Steps(broken, None, None, None, None, None)
    with pytest.raises(OSError, match="disk"):
        correct([], steps, OPTIONS, Trace("", "correct", 0))

    def refused():
        raise ReplyError("no", "reply")

    trace = Trace("", "correct", 0)
    assert correct([], replace(steps, read=refused), OPTIONS, trace) == []
    assert (trace.verdict, trace.chosen_round) == ("failed", 0)


def layout(**boxes):
    entries = [(f"{name.replace('_', ' ')} #1", box) for name, box in boxes.items()]
    return check_layout(entries, ["dog", "cat"], 30).layout


def test_a_detection_is_scored_by_precision_and_recall():
    found = layout(dog=BOXES[0], black_cat=BOXES[1], cat=BOXES[2])
    truth = layout(dog=[0.06, 0.1, 0.2, 0.2], cat=BOXES[1])
    scored = match_layouts(found, truth, iou_min=0.5)
    assert scored == Matched(found=3, true=2, matched=1)
    assert (scored.precision, scored.recall) == (pytest.approx(1 / 3), 0.5)
    doubled = layout(dog=BOXES[0])[0]
    twice = (doubled, replace(doubled, number=2))
    assert match_layouts(twice, twice[:1], iou_min=0.5) == Matched(found=2, true=1, matched=1)
    assert match_layouts(twice[:1], twice, iou_min=0.5) == Matched(found=1, true=2, matched=1)
    empty = match_layouts((), (), iou_min=0.5)
    assert empty.precision is None and empty.recall is None


def test_an_edit_is_scored_by_kind():
    current = layout(dog=BOXES[0], cat=BOXES[1])
    todo = plan(current, layout(black_dog=BOXES[0], black_cat=BOXES[2]))
    there = [Detection(one.label, one.box, 0.9) for one in layout(dog=BOXES[0], cat=BOXES[1])]
    done = score_edit(todo, there, iou_min=0.5)
    assert {kind: (one.asked, one.done) for kind, one in done.items()} == {
        "preserve": (0, 0), "move": (0, 0), "attribute": (1, 0), "add": (1, 0), "remove": (1, 0),
    }  # fmt: skip
    right = [Detection(one.label, one.box, 0.9) for one in layout(black_dog=BOXES[0])]
    done = score_edit(todo, right, iou_min=0.5)
    assert (done["attribute"].done, done["add"].done, done["remove"].done) == (1, 0, 1)
