import math

import numpy as np
import pytest

from selma.pocket.render import corners_of, extent, render
from selma.pocket.scenes import BACKGROUNDS, RADII_PX, SHAPES, Scene, SceneObject


def test_the_box_of_a_circle_and_of_a_square_is_known():
    reach = 6.6 * math.sqrt(0.92)
    expected = np.array([16 - reach, 12 - reach, 16 + reach, 12 + reach]) / 32
    np.testing.assert_allclose(
        corners_of("circle", 6.6, 16.0, 12.0), expected, atol=0.001 * 6.6 / 32
    )
    reach = 4.2 * 0.84
    expected = np.array([8 - reach, 20 - reach, 8 + reach, 20 + reach]) / 32
    np.testing.assert_allclose(
        corners_of("square", 4.2, 8.0, 20.0), expected, atol=0.001 * 4.2 / 32
    )


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
    corners = corners_of(shape, RADII_PX[size], 15.3, 17.8)
    first = np.array([columns.min(), rows.min()]) - np.floor(corners[:2] * 32)
    last = np.ceil(corners[2:] * 32) - 1 - np.array([columns.max(), rows.max()])
    assert set(first) | set(last) <= {0, 1}  # tips may be too thin to see
