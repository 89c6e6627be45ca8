"""What a detector sees is named so that nothing is lost, doubled or hidden."""

import random

import pytest

from selma.correction.detections import Detection, Thresholds, postprocess, queries
from selma.correction.layout import Box
from selma.correction.naming import name_layout
from selma.correction.scene import Label, make_scene

PLACES = [Box(x, 0.1, 0.15, 0.3) for x in (0.05, 0.25, 0.45, 0.65)]


def see(text, place, score):
    attribute, _, noun = text.rpartition("|")
    return Detection(Label(attribute or None, noun), PLACES[place], score)


def named(entries, *found):
    layout = name_layout(make_scene(entries, "", ""), found, duplicate_iou=0.7)
    return {one.name: PLACES.index(one.box) for one in layout}


def test_of_two_wanted_with_an_attribute_one_is_recognised():
    seen = [see("red|car", 0, 0.8), see("car", 0, 0.9), see("car", 1, 0.6)]
    assert named([("car", ["red", "red"])], *seen) == {"red car #1": 0, "car #1": 1}


def test_two_attributes_and_none_recognised_name_two_boxes():
    seen = [see("motorcycle", 2, 0.7), see("motorcycle", 1, 0.8)]
    wanted = [("motorcycle", ["green", "blue"])]
    assert named(wanted, *seen) == {"motorcycle #1": 1, "motorcycle #2": 2}


def test_an_attribute_of_a_noun_of_two_words():
    seen = [see("green|palm tree", 0, 0.7), see("palm tree", 0, 0.9)]
    assert named([("palm tree", ["green"])], *seen) == {"green palm tree #1": 0}


def test_an_object_without_attribute_beside_one_with():
    seen = [see("black|dog", 0, 0.7), see("dog", 0, 0.9), see("dog", 3, 0.5)]
    assert named([("dog", [None, "black"])], *seen) == {"black dog #1": 0, "dog #1": 3}


@pytest.mark.parametrize("attribute", ["white and small", "white"])
def test_attributes_of_several_words_are_treated_like_others(attribute):
    seen = [see(f"{attribute}|car", 0, 0.7), see("car", 0, 0.9), see("car", 1, 0.5)]
    assert named([("car", [attribute])], *seen) == {f"{attribute} car #1": 0, "car #1": 1}


def test_surplus_objects_stay_visible_with_and_without_attribute():
    seen = [see("red|car", place, 0.9 - place / 10) for place in range(3)]
    seen += [see("car", 2, 0.6), see("car", 3, 0.7)]
    assert named([("car", ["red"])], *seen) == {
        "red car #1": 0, "car #1": 3, "car #2": 2, "car #3": 1,
    }  # fmt: skip


def test_a_region_seen_with_two_attributes_gets_the_surer_one():
    seen = [see("green|motorcycle", 0, 0.6), see("blue|motorcycle", 0, 0.7)]
    assert named([("motorcycle", ["green", "blue"])], *seen) == {"blue motorcycle #1": 0}


def test_names_do_not_depend_on_the_order_of_detections():
    seen = [see("car", place, 0.5) for place in range(4)] + [see("red|car", 1, 0.5)]
    wanted = named([("car", ["red", None])], *seen)
    assert wanted == {"red car #1": 1, "car #1": 0, "car #2": 2, "car #3": 3}
    draw = random.Random(1)
    for _ in range(10):
        assert named([("car", ["red", None])], *draw.sample(seen, 5)) == wanted


def test_two_labels_of_one_text_do_not_share_a_name():
    seen = [see("hot|dog", 0, 0.7), see("hot dog", 1, 0.9)]
    wanted = [("dog", ["hot"]), ("hot dog", [None])]
    assert named(wanted, *seen) == {"hot dog #1": 0, "hot dog #2": 1}


def test_a_detector_is_asked_for_labels_with_attributes_and_for_bare_nouns():
    scene = make_scene([("apple", ["old", None]), ("shadows", [None])], "", "")
    assert list(queries(scene).values()) == [
        "image of an old apple", "image of an apple", "image of a shadows",
    ]  # fmt: skip


def test_nothing_seen_is_an_empty_layout():
    assert named([("car", ["red", None])]) == {}


LIMITS = Thresholds(attribute=0.6, primitive=0.2, nms_iou=0.5)


def box(label, score, *values):
    return Detection(label, Box(*values), score)


DOG, BLACK, CAT = Label(None, "dog"), Label("black", "dog"), Label(None, "cat")


def test_detections_are_cut_by_threshold_clipped_and_rounded():
    kept = postprocess(
        [
            box(DOG, 0.2, -0.05, 0.1, 0.25, 0.20004),
            box(DOG, 0.19, 0.5, 0.5, 0.2, 0.2),
            box(BLACK, 0.59, 0.5, 0.5, 0.2, 0.2),
            box(BLACK, 0.6, 0.5, 0.9, 0.2, 0.2),
            box(CAT, 0.9, 1.1, 0.1, 0.2, 0.2),
        ],
        LIMITS,
    )
    assert kept == [box(DOG, 0.2, 0, 0.1, 0.2, 0.2), box(BLACK, 0.6, 0.5, 0.9, 0.2, 0.1)]


def test_boxes_of_a_label_that_overlap_by_the_threshold_are_one():
    """Two boxes 0.2 wide: shifted by d they share (0.2 - d) / (0.2 + d)."""
    shifted = [0.0, 0.07, 0.066]  # IoU with the first: 0.4815, 0.5038
    seen = [box(DOG, 0.9 - n / 10, 0.1 + x, 0.1, 0.2, 0.2) for n, x in enumerate(shifted)]
    other = box(CAT, 0.5, 0.1, 0.1, 0.2, 0.2)
    kept = postprocess([seen[2], other, seen[1], seen[0]], LIMITS)
    assert [one.score for one in kept] == [0.9, 0.8, 0.5]
