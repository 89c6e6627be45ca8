import numpy as np

from selma.foundation.grounded_pictures import (
    grounded_picture,
    held_out_picture,
    phrase_numbers,
    phrases,
)
from selma.foundation.pictures import CaptionNoise
from selma.pocket.scenes import Thing
from selma.pocket.skills import is_held_out


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
