import random

import numpy as np
import pytest

from selma.pocket.render import coverage, render
from selma.pocket.scenes import (
    BACKGROUNDS,
    CANVAS_PX,
    COLOURS,
    RADII_PX,
    RELATIONS,
    SHAPES,
    Scene,
    SceneObject,
    Thing,
    build_scene,
    holds,
)


def scenes(count, seed=0):
    rng = random.Random(seed)
    for _ in range(count):
        things = [
            Thing(rng.choice(SHAPES), rng.choice(list(COLOURS)), rng.choice(list(RADII_PX)))
            for _ in range(rng.randint(1, 4))
        ]
        yield build_scene(rng.choice(list(BACKGROUNDS)), things, rng)


def test_no_pixel_belongs_to_two_objects():
    for scene in scenes(300):
        covers = [coverage(o.shape, RADII_PX[o.size], o.x, o.y, CANVAS_PX) for o in scene.objects]
        assert (sum(cover > 0 for cover in covers) <= 1).all()


def test_no_object_is_cut_by_the_border():
    for scene in scenes(300):
        for item in scene.objects:
            radius = RADII_PX[item.size]
            whole = coverage(item.shape, radius, item.x + 16, item.y + 16, CANVAS_PX + 32)
            inside = coverage(item.shape, radius, item.x, item.y, CANVAS_PX)
            assert inside.sum() == pytest.approx(whole.sum())


def test_four_large_objects_always_find_room():
    rng = random.Random(1)
    things = [Thing("square", "red", "large")] * 4
    assert all(build_scene("white", things, rng) for _ in range(100))


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_relation_asked_for_holds_and_no_other_does(relation):
    rng = random.Random(2)
    things = [Thing("circle", "red", "small"), Thing("star", "blue", "large")]
    for _ in range(50):
        first, second = build_scene("gray", things, rng, [(0, relation, 1)]).objects
        found = [r for r in RELATIONS if holds(r, (first.x, first.y), (second.x, second.y))]
        assert found == [relation]


def test_relations_that_contradict_each_other_give_no_scene():
    things = [Thing("circle", "red", "small"), Thing("star", "blue", "small")]
    impossible = [(0, "left of", 1), (0, "right of", 1)]
    assert build_scene("white", things, random.Random(0), impossible) is None


def test_the_same_seed_draws_the_same_pixels():
    first, second = (np.stack([render(s) for s in scenes(20, seed=7)]) for _ in range(2))
    assert (first == second).all()


def test_inside_is_the_objects_colour_outside_the_backgrounds_and_edges_are_between():
    picture = render(Scene("black", (SceneObject("circle", "red", "large", 16.0, 16.0),)))
    assert tuple(picture[16, 16]) == COLOURS["red"]
    assert tuple(picture[0, 0]) == BACKGROUNDS["black"]
    low, high = BACKGROUNDS["black"][0], COLOURS["red"][0]
    assert ((picture[..., 0] > low) & (picture[..., 0] < high)).any()


@pytest.mark.parametrize(
    ("shape", "area"),
    [("circle", np.pi * 0.92), ("square", 1.68**2), ("ring", np.pi * 0.7), ("diamond", 1.523)],
)
def test_a_shapes_area_is_that_of_its_formula(shape, area):
    cover = coverage(shape, 50.0, 64.0, 64.0, 128)
    assert cover.sum() / 50.0**2 == pytest.approx(area, rel=0.01)
