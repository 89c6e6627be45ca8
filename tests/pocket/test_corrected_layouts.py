"""The pocket LLM corrects layouts as its request asks, for every form of prompt."""

import random
from collections import Counter
from functools import cache

import pytest
from layout_errors import ERRORS, seen

from selma.correction.asking import Conversation
from selma.correction.layout import Layout
from selma.correction.lmd import Vocabulary, lmd_prompts
from selma.correction.plan import KINDS, plan
from selma.correction.predicates import Absent
from selma.correction.replies import ReplyLimits
from selma.correction.scoring import layout_passes
from selma.pocket.captions import Description, Group, realise
from selma.pocket.scenes import CANVAS_PX, COLOURS, RADII_PX, SHAPES, Scene, SceneObject, holds
from selma.pocket.skills import DRAW, write_prompt
from selma.pocket.writer import MODEL, REVISION, PocketWriter

LIMITS = ReplyLimits(objects_max=30, bytes_max=4000)
LMD_WORDS = Vocabulary("a picture", SHAPES, tuple(COLOURS), (1, 2, 3, 4, 5))
EACH = 25  # captions of a skill with each error


def conversation(prompt: str, seed: int) -> Conversation:
    return Conversation(PocketWriter(MODEL, REVISION), prompt, 2, seed, LIMITS)


def corrected(prompt, objects, seed):
    """The layout that is seen, and the one suggested."""
    talk = conversation(prompt, seed)
    scene = talk.scene()
    current = seen(objects, scene)
    return current, talk.layout("correct", scene, current, 1).layout


def label_of(group: Group) -> str:
    return " ".join(filter(None, (group.size, group.colour, group.shape)))


def pixels(one) -> tuple[float, float]:
    return one.box.centre[0] * CANVAS_PX, one.box.centre[1] * CANVAS_PX


def fits(description: Description, goal: Layout) -> bool:
    """Whether a layout has the objects that are described, no other, and where they shall be."""
    wanted = Counter({label_of(group): group.count for group in description.groups})
    if Counter(one.label.text for one in goal) != wanted:
        return False
    at = [
        next(pixels(one) for one in goal if one.label.text == label_of(group))
        for group in description.groups
    ]
    return all(holds(link.relation, at[link.first], at[link.second]) for link in description.links)


def inside(goal: Layout) -> bool:
    return all(
        min(one.box.x, one.box.y) >= 0 and max(one.box.right, one.box.bottom) <= 1 + 1e-9
        for one in goal
    )


@cache
def cases(skill: str, error: str):
    """(description, seen, suggested) of captions whose true scenes got an error."""
    found = []
    for seed in range(EACH):
        rng = random.Random(f"{skill} {error} {seed}")
        scene = None
        while scene is None:  # not all that is drawn has room
            description = DRAW[skill](rng)
            scene = realise(description, rng)
        objects = ERRORS[error](list(scene.objects), rng)
        prompt = write_prompt(skill, description, rng)
        found.append((description, *corrected(prompt, objects, seed)))
    return found


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("skill", DRAW)
def test_the_goal_of_a_caption_fits_it(skill, error):
    for description, _, goal in cases(skill, error):
        assert fits(description, goal), (description, goal)
        assert inside(goal)


@pytest.mark.parametrize("skill", DRAW)
def test_nothing_is_changed_where_all_is_right(skill):
    assert all(plan(current, goal).is_empty for _, current, goal in cases(skill, "nothing"))


@pytest.mark.parametrize("skill", DRAW)
def test_an_object_too_few_or_too_many_costs_one_operation(skill):
    dropped = [plan(current, goal).counts() for _, current, goal in cases(skill, "drop")]
    doubled = [plan(current, goal).counts() for _, current, goal in cases(skill, "duplicate")]
    one_addition = dict.fromkeys(KINDS, 0) | {"add": 1}
    assert sum(counts == one_addition for counts in dropped) >= 0.9 * EACH  # else room is made
    for counts in doubled:  # the double is named by its noun alone, and may stand where it should
        assert counts["remove"] <= 1 and not counts["add"] and not counts["attribute"]
        assert counts["move"] <= (skill in ("spatial", "paragraph"))
    assert sum(counts["remove"] for counts in doubled) >= 0.5 * EACH  # else there was no room


@pytest.mark.parametrize("skill", ["count", "counterfactual", "common", "spatial"])
def test_another_colour_is_changed_in_place(skill):
    for _, current, goal in cases(skill, "recolour"):
        todo = plan(current, goal)
        assert [change.current.box for change in todo.attribute] == [
            change.goal.box for change in todo.attribute
        ]
        assert todo.counts() == dict.fromkeys(KINDS, 0) | {"attribute": 1}


def test_a_relation_is_mended_by_moving():
    plans = [plan(current, goal) for _, current, goal in cases("spatial", "swap")]
    assert all(one.counts()["move"] in (1, 2) for one in plans)
    assert not any(one.remove or one.add or one.attribute for one in plans)


def test_every_kind_of_operation_is_suggested():
    total = Counter[str]()
    for skill in DRAW:
        for error in ERRORS:
            for _, current, goal in cases(skill, error):
                total.update(plan(current, goal).counts())
    assert all(total[kind] >= 20 for kind in KINDS), total


@pytest.mark.parametrize("error", ERRORS)
def test_the_goals_of_the_benchmarks_prompts_pass_its_rules(error):
    for one in lmd_prompts(LMD_WORDS)[::7]:
        rng = random.Random(f"{error} {one.number}")
        objects = list(some_scene(one.predicate, rng).objects)
        objects = ERRORS[error](objects, rng) if objects else objects
        current, goal = corrected(one.text, objects, one.number)
        assert layout_passes(one.predicate, goal), (one.text, current, goal)
        assert inside(goal)


def some_scene(predicate, rng) -> Scene:
    """A scene with what a predicate names, in whatever colours and places."""
    counts = Counter({label.noun: 1 for label in predicate.labels()})
    if hasattr(predicate, "number"):
        counts = Counter({predicate.noun: min(predicate.number, 4)})
    scene = None
    while scene is None:
        groups = tuple(Group(shape, None, "small", n) for shape, n in sorted(counts.items()))
        scene = realise(Description(groups), rng)
    return scene


@pytest.mark.parametrize("shape", SHAPES)
def test_a_forbidden_object_goes_and_what_is_wanted_beside_it_stays(shape):
    other = next(one for one in SHAPES if one != shape)
    objects = [
        SceneObject(shape, "red", "small", 8.0, 8.0),
        SceneObject(other, "blue", "small", 24.0, 20.0),
    ]
    predicate = Absent(shape)
    prompt = f"a picture of a blue {other} without {shape}{'es' if shape.endswith('s') else 's'}"
    current, goal = corrected(prompt, objects, 1)
    assert layout_passes(predicate, goal)
    todo = plan(current, goal)
    assert todo.counts() == dict.fromkeys(KINDS, 0) | {"remove": 1}
    assert [one.label.text for one in goal] == [f"blue {other}"]


def test_of_two_the_one_that_stands_in_the_relation_stays():
    objects = [
        SceneObject("star", "red", "small", 26.0, 16.0),
        SceneObject("star", "red", "small", 5.0, 16.0),
        SceneObject("ring", "blue", "small", 16.0, 16.0),
    ]
    prompt = "a picture with a star on the right and a ring on the left"
    current, goal = corrected(prompt, objects, 1)
    assert plan(current, goal).counts() == dict.fromkeys(KINDS, 0) | {"remove": 1}
    assert sorted(pixels(one)[0] for one in goal) == pytest.approx([16.0, 26.0], abs=0.1)


def test_new_boxes_are_of_the_sizes_of_the_world():
    _, goal = corrected("a large red circle and a small blue square", [], 3)
    sides = {one.label.text: one.box.width * CANVAS_PX / 2 for one in goal}
    assert sides["large red circle"] == pytest.approx(RADII_PX["large"] * 0.92**0.5, abs=0.1)
    assert sides["small blue square"] == pytest.approx(RADII_PX["small"] * 0.84, abs=0.1)


def test_the_smallest_of_too_many_is_taken_away():
    objects = [
        SceneObject("star", "red", size, x, y)
        for size, x, y in (("small", 6.0, 6.0), ("large", 24.0, 8.0), ("large", 12.0, 24.0))
    ]
    current, goal = corrected("A picture with two stars", objects, 5)
    todo = plan(current, goal)
    assert len(todo.remove) == 1 and not (todo.add or todo.move or todo.attribute)
    assert todo.remove[0].box.width == min(one.box.width for one in current)
