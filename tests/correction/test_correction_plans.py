"""Layouts are compared as the specification's tables say, in any order and process."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from sld_demo import CORRECTIONS, EDITS, demo_layouts, layout

from selma.correction.layout import Box, iou
from selma.correction.plan import plan

B, C = [0.1, 0.1, 0.2, 0.2], [0.6, 0.6, 0.2, 0.2]
NOUNS = ["dog", "bicycle", "car", "palm tree"]


def names(current, goal):
    """The plan by names, without what is empty; pairs of one name as that name."""
    made = plan(current, goal).as_json()
    short = {
        kind: [one if isinstance(one, str) or one[0] != one[1] else one[0] for one in these]
        for kind, these in made.items()
    }
    return {kind: these for kind, these in short.items() if these}


def compared(current, goal):
    return names(layout(NOUNS, current), layout(NOUNS, goal))


COMPARISONS = {
    "an attribute is changed": (
        {"bicycle #1": B}, {"blue bicycle #1": B},
        {"attribute": [["bicycle #1", "blue bicycle #1"]]},
    ),
    "another attribute is another object": (
        {"black dog #1": B}, {"white dog #1": B},
        {"remove": ["black dog #1"], "add": ["white dog #1"]},
    ),
    "a noun of two words": (
        {"palm tree #1": B}, {"green palm tree #1": B},
        {"attribute": [["palm tree #1", "green palm tree #1"]]},
    ),
    "attribute and place": (
        {"car #1": B}, {"red car #1": C}, {"remove": ["car #1"], "add": ["red car #1"]},
    ),
    "nearly the same box": (
        {"car #1": B}, {"car #1": [0.105, 0.1, 0.2, 0.2]}, {"preserve": ["car #1"]},
    ),
    "one of two remains under the other's number": (
        {"car #1": B, "car #2": C}, {"car #1": C},
        {"preserve": [["car #2", "car #1"]], "remove": ["car #1"]},
    ),
    "two of a kind change places": (
        {"car #1": B, "car #2": C}, {"car #1": C, "car #2": B}, {"move": ["car #1", "car #2"]},
    ),
    "two goals over one object": (
        {"car #1": B}, {"red car #1": B, "blue car #1": B},
        {"attribute": [["car #1", "blue car #1"]], "add": ["red car #1"]},
    ),
    "nothing": ({}, {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARISONS)
def test_layouts_compare_as_the_table_says(name):
    current, goal, wanted = COMPARISONS[name]
    assert compared(current, goal) == wanted


DEMO = {
    "lmdplus_beach": {
        "remove": ["bicycle #1"],
        "add": ["blue bicycle #1", "seagull #2", "seagull #3"],
        "preserve": ["bench #1", "palm tree #1", "seagull #1"],
    },
    "dalle3_beach": {
        "move": ["bench #1", "blue bicycle #1"],
        "remove": [f"seagull #{k}" for k in range(4, 9)],
        "preserve": ["palm tree #1", "seagull #1", "seagull #2", "seagull #3"],
    },
    "lmdplus_motor": {
        "attribute": [["motorcycle #1", "green motorcycle #1"]],
        "preserve": ["monkey #1", "blue motorcycle #1", "raccoon #1"],
    },
    "dalle3_motor": {
        "move": ["green motorcycle #1"],
        "add": ["blue motorcycle #1"],
        "preserve": ["monkey #1", "raccoon #1"],
    },
    "dalle3_snowwhite": {
        "remove": ["dwarf #5"],
        "preserve": [*(f"dwarf #{k}" for k in range(1, 5)), "princess #1"],
    },
    "dalle3_clown": {"move": ["clown #1", "woman #1"]},
    "sdxl_beach": {
        "remove": ["palm tree #2", *(f"seagull #{k}" for k in (1, 3, 4, 5, 6, 7, 9, 10))],
        "add": ["blue bicycle #1"],
        "preserve": ["bench #1", "palm tree #1", "seagull #2", "seagull #8", "seagull #11"],
    },
    "sdxl_motor": {
        "move": ["blue motorcycle #1", "green motorcycle #1"],
        "preserve": ["monkey #1", "raccoon #1"],
    },
    "dalle3_banana": {
        "remove": ["apple #1"],
        "add": ["pumpkin #1"],
        "preserve": ["apple #2", *(f"banana #{k}" for k in range(1, 7))],
    },
    "dalle3_dog": {"attribute": [["dog #1", "sleeping dog #1"]], "remove": ["shadows #1"]},
    "indoor_scene_move": {"move": ["cat #1", "dog #1"]},
    "indoor_scene_swap": {"move": ["yellow cat #1", "black dog #1"]},
    "indoor_scene_attr_mod": {
        "attribute": [["cat #1", "sculptural cat #1"], ["dog #1", "robotic dog #1"]]
    },
    "indoor_scene_resize": {"move": ["cat #1", "dog #1"]},
    "indoor_scene_replace": {
        "preserve": ["cat #1"], "remove": ["dog #1"], "add": ["houseplant #1"],
    },
    "indoor_table_swap": {"move": ["bowl #1", "cup #1"]},
    "indoor_table_resize": {"preserve": ["bowl #1"], "move": ["cup #1"]},
    "indoor_table_move": {"preserve": ["bowl #1"], "move": ["cup #1"]},
    "indoor_table_attr_mod": {
        "attribute": [["bowl #1", "golden bowl #1"], ["cup #1", "green cup #1"]]
    },
    "indoor_table_replace": {
        "preserve": ["cup #1"], "remove": ["bowl #1"], "add": ["apple #1", "apple #2"],
    },
}  # fmt: skip


def test_the_demo_has_twenty_entries():
    assert set(DEMO) == {*CORRECTIONS, *EDITS} and len(DEMO) == 20


@pytest.mark.parametrize("name", DEMO)
def test_a_demo_entry_leads_to_its_operations(name):
    assert names(*demo_layouts(name)) == DEMO[name]


@pytest.mark.parametrize(
    ("name", "overlaps"),
    [
        ("indoor_scene_move", (0.722, 0.630)),
        ("indoor_scene_resize", (0.651, 0.698)),
        ("indoor_table_resize", (None, 0.640)),
        ("indoor_table_move", (None, 0.649)),
    ],
)
def test_the_demos_boxes_overlap_as_published(name, overlaps):
    current, goal = demo_layouts(name)
    for one, other, overlap in zip(current, goal, overlaps, strict=True):
        if overlap is not None:
            assert iou(one.box, other.box) == pytest.approx(overlap, abs=6e-4)


def random_layout(draw):
    places = [[x / 10, y / 10, 0.1, 0.1] for x in range(3) for y in range(2)]
    kinds = ["car", "red car", "blue car", "palm tree", "tall palm tree"]
    every = [f"{kind} #{k}" for kind in kinds for k in (1, 2)]
    chosen = draw.sample(every, draw.randint(0, 6))
    return layout(NOUNS, {name: draw.choice(places) for name in chosen})


def test_every_object_ends_in_exactly_one_operation_in_any_order():
    for seed in range(300):
        draw = random.Random(seed)
        current, goal = random_layout(draw), random_layout(draw)
        made = plan(current, goal)
        changes = [*made.preserve, *made.move, *made.attribute]
        left = [change.current.name for change in changes] + [one.name for one in made.remove]
        right = [change.goal.name for change in changes] + [one.name for one in made.add]
        assert sorted(left) == sorted(one.name for one in current)
        assert sorted(right) == sorted(one.name for one in goal)
        shuffled = [draw.sample(one, len(one)) for one in (current, goal)]
        assert plan(*map(tuple, shuffled)) == made


def test_a_plan_does_not_depend_on_how_python_hashes():
    code = (
        "import json, random; from test_correction_plans import *\n"
        "draws = [random.Random(seed) for seed in range(30)]\n"
        "plans = [plan(random_layout(d), random_layout(d)).as_json() for d in draws]\n"
        "print(json.dumps(plans))"
    )
    folder = str(Path(__file__).parent)
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join([folder, *sys.path])},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }  # fmt: skip
    assert len(outputs) == 1 and len(json.loads(outputs.pop())) == 30


def test_a_name_that_stands_twice_in_a_layout_is_refused():
    (car,) = layout(NOUNS, {"car #1": B})
    with pytest.raises(ValueError, match="twice"):
        plan((car, car), (car,))


def test_overlap_of_boxes_by_hand():
    assert iou(Box(0, 0, 0.2, 0.2), Box(0.1, 0, 0.2, 0.2)) == pytest.approx(1 / 3)
    assert iou(Box(0, 0, 0.2, 0.2), Box(0.2, 0, 0.2, 0.2)) == 0
    assert iou(Box(0.1, 0.1, 0.2, 0.2), Box(0.105, 0.1, 0.2, 0.2)) == pytest.approx(0.951, abs=5e-4)
