import math

import numpy as np
import pytest

from selma.foundation.grounded_pictures import (
    box_of,
    extent,
    grounded_picture,
    held_out_picture,
    phrase_numbers,
    phrases,
)
from selma.foundation.pictures import CaptionNoise
from selma.pocket.render import render
from selma.pocket.scenes import BACKGROUNDS, RADII_PX, SHAPES, Scene, SceneObject, Thing
from selma.pocket.skills import is_held_out


def test_the_box_of_a_circle_and_of_a_square_is_known():
    circle = SceneObject("circle", "red", "large", 16.0, 12.0)
    reach = 6.6 * math.sqrt(0.92)
    expected = np.array([16 - reach, 12 - reach, 16 + reach, 12 + reach]) / 32
    np.testing.assert_allclose(box_of(circle), expected, atol=0.001 * 6.6 / 32)
    square = SceneObject("square", "red", "small", 8.0, 20.0)
    reach = 4.2 * 0.84
    expected = np.array([8 - reach, 20 - reach, 8 + reach, 20 + reach]) / 32
    np.testing.assert_allclose(box_of(square), expected, atol=0.001 * 4.2 / 32)


def test_a_triangle_stands_on_its_base_and_reaches_up_to_its_radius():
    left, top, right, bottom = extent("triangle")
    assert (top, bottom) == pytest.approx((-1.0, 0.78), abs=0.0015)
    assert (-left, right) == pytest.approx((1.78 * 0.56,) * 2, abs=0.0015)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", RADII_PX)
def test_an_object_fills_its_box_to_the_pixel(shape, size):
    item = SceneObject(shape, "red", size, 15.3, 17.8)
    picture = render(Scene("white", (item,)))
    rows, columns = np.nonzero((picture != BACKGROUNDS["white"]).any(axis=2))
    first = np.array([columns.min(), rows.min()]) - np.floor(box_of(item)[:2] * 32)
    last = np.ceil(box_of(item)[2:] * 32) - 1 - np.array([columns.max(), rows.max()])
    assert set(first) | set(last) <= {0, 1}  # tips may be too thin to see


def test_phrases_name_an_object_with_or_without_size_and_colour():
    said = [phrases()[n] for n in phrase_numbers(Thing("circle", "orange", "large"))]
    named = ["an orange circle"] * 2 + ["a large orange circle", "a big orange circle"]
    assert said == named + ["a circle"] * 2 + ["a large circle", "a big circle"]
    assert len(set(phrases())) == len(phrases()) == 5 * 9 * 8


def test_pictures_depend_on_seed_and_number_and_keep_to_their_side_of_the_held_out_prompts():
    noise = CaptionNoise(0.1, 0.3)
    first, again, other = (grounded_picture(0, number, noise, 0.3) for number in (5, 5, 6))
    assert first.caption == again.caption and np.array_equal(first.picture, again.picture)
    assert not np.array_equal(first.picture, other.picture)
    assert not any(is_held_out(grounded_picture(0, n, noise, 0.3).caption) for n in range(40))
    assert all(is_held_out(held_out_picture(0, n).caption) for n in range(5))


def test_each_object_has_its_own_box_in_the_picture():
    for number in range(20):
        row = grounded_picture(1, number, CaptionNoise(0, 0), 0.0)
        assert len(row.boxes) == len(row.scene.objects)
        assert (row.boxes >= 0).all() and (row.boxes <= 1).all()
        assert (row.boxes[:, :2] < row.boxes[:, 2:]).all()


def test_a_share_of_the_pictures_shows_one_object():
    rows = [grounded_picture(0, number, CaptionNoise(0, 0), 1.0) for number in range(10)]
    assert [len(row.scene.objects) for row in rows] == [1] * 10
