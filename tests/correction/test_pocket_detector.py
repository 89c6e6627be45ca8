from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selma.core.errors import RecordError
from selma.correction.detectors.loading import load_detector
from selma.pocket.render import render
from selma.pocket.scenes import Scene, SceneObject

CIRCLE = SceneObject("circle", "red", "large", 8.0, 9.0)
STAR = SceneObject("star", "blue", "small", 22.0, 23.0)
PICTURE = Image.fromarray(render(Scene("white", (CIRCLE, STAR))))


@pytest.fixture
def detector():
    return load_detector(
        "pocket", Path("selma/correction"), dtype="float32", device="cpu", batch_size=1
    )


def test_an_object_is_found_by_its_noun_and_by_its_colour_and_noun(detector):
    asked = ["image of a red circle", "image of a blue circle", "image of a star", "image of a dog"]
    [found] = detector.detect([PICTURE], [asked])
    assert sorted(one.query for one in found) == [0, 2]
    [circle] = [one for one in found if one.query == 0]
    reach = 6.6 * 0.92**0.5
    expected = [value / 32 for value in (8 - reach, 9 - reach, 2 * reach, 2 * reach)]
    np.testing.assert_allclose(circle.box.values(), expected, atol=0.01)


def test_a_picture_without_the_object_has_none(detector):
    blank = Image.fromarray(render(Scene("gray", ())))
    assert detector.detect([blank, PICTURE], [["image of a ring"], []]) == [[], []]


def test_a_picture_of_another_world_is_refused(detector):
    with pytest.raises(RecordError, match="32, 32, 3"):
        detector.detect([Image.new("RGB", (64, 64))], [["image of a ring"]])
