"""Preprocessing is ours, so that no image backend can change a score."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.scorers.pixels import (
    RESIZES,
    ImageSettings,
    preprocess,
    read_image_settings,
    resized_shape,
    write_image_settings,
)

SETTINGS = ImageSettings(4, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
PLAIN = ImageSettings(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def squares(picture, resize, size_px=8):
    """Preprocess one picture without normalising: (S, S, 3) of values around [0, 1]."""
    return preprocess([picture], replace(PLAIN, size_px=size_px, resize=resize))[0].transpose(
        1, 2, 0
    )


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def cubic(distance, a):
    """Give Keys' cubic convolution kernel."""
    x = abs(distance)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def bicubic_matrix(before, after, *, antialias):
    """Give the weights (after, before) of one axis, written from the definition.

    Without antialias four neighbours count, outside ones as the edge's, a = -0.75. With it the
    kernel is as wide as the scale, outside ones are left out, a = -0.5.
    """
    scale = before / after
    matrix = np.zeros((after, before))
    for row in range(after):
        centre = (row + 0.5) * scale - 0.5
        if antialias:
            widened = max(scale, 1.0)
            for column in range(before):
                matrix[row, column] = cubic((column - centre) / widened, -0.5)
            matrix[row] /= matrix[row].sum()
        else:
            for column in range(math.floor(centre) - 1, math.floor(centre) + 3):
                matrix[row, min(max(column, 0), before - 1)] += cubic(column - centre, -0.75)
    return matrix


def test_a_picture_of_the_right_size_is_only_normalised():
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    got = preprocess([picture], SETTINGS)
    expected = (picture / 255 - SETTINGS.mean) / SETTINGS.standard_deviation
    assert (got.dtype, got.shape) == (np.float32, (1, 3, 4, 4))
    np.testing.assert_allclose(got[0], expected.transpose(2, 0, 1), atol=1e-6)


def test_the_middle_of_a_wide_picture_is_kept():
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 255
    assert preprocess([wide], SETTINGS)[0, 2].min() == 1.0


def test_a_large_picture_is_resized_to_the_models_square():
    large = np.full((12, 20, 3), 128, np.uint8)
    got = preprocess([large], SETTINGS)
    np.testing.assert_allclose(got[0, 2], np.full((4, 4), 128 / 255), atol=1e-6)


def test_settings_survive_the_file_and_older_files_with_plain_sizes_are_read(tmp_path):
    write_image_settings(SETTINGS, tmp_path)
    assert read_image_settings(tmp_path) == SETTINGS
    plain = {"size": 4, "crop_size": 4, "image_mean": [0.5, 0.25, 0], "image_std": [0.5, 0.25, 1]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(plain))
    assert read_image_settings(tmp_path) == SETTINGS


def test_a_missing_or_damaged_settings_file_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="preprocessor_config.json"):
        read_image_settings(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": 4')
    with pytest.raises(RecordError, match="preprocessor_config.json"):
        read_image_settings(tmp_path)


@pytest.mark.parametrize("resize", sorted(RESIZES))
def test_every_way_only_normalises_a_picture_of_the_right_size(resize):
    picture = noise(4, 4)
    got = preprocess([picture], replace(SETTINGS, resize=resize))
    assert np.array_equal(got, preprocess([picture], SETTINGS))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((480, 640), (224, 298)),  # 298.67 is rounded down
        ((640, 480), (298, 224)),
        ((1024, 1024), (224, 224)),
        ((100, 333), (224, 745)),
        ((225, 224), (225, 224)),
    ],
)
def test_the_longer_side_is_rounded_down(shape, expected):
    assert resized_shape(*shape, 224) == expected


@pytest.mark.parametrize(
    ("surplus", "floor", "torchvision"), [(1, 0, 0), (2, 1, 1), (3, 1, 2), (5, 2, 2), (7, 3, 4)]
)
def test_the_crop_starts_where_transformers_and_where_torchvision_do(surplus, floor, torchvision):
    columns = np.arange(8 + surplus, dtype=np.uint8)
    wide = np.broadcast_to(columns[None, :, None], (8, 8 + surplus, 3)).copy()
    starts = {name: round(255 * float(squares(wide, name)[0, 0, 0])) for name in RESIZES}
    assert starts == {
        "pillow-bicubic": floor,
        "pillow-bicubic-torchvision": torchvision,
        "tensor-bicubic": torchvision,
        "tensor-bicubic-antialias": torchvision,
    }
    tall = wide.transpose(1, 0, 2).copy()
    assert all(
        np.array_equal(squares(tall, name), squares(wide, name).transpose(1, 0, 2))
        for name in RESIZES
    )


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("shape", [(16, 16), (24, 40), (20, 31), (5, 6)])
def test_a_tensor_is_resized_by_the_definition_of_the_filter(shape, antialias):
    picture = noise(*shape)
    height, width = resized_shape(*shape, 8)
    rows = bicubic_matrix(shape[0], height, antialias=antialias)
    columns = bicubic_matrix(shape[1], width, antialias=antialias)
    whole = np.einsum("hy,yxc,wx->hwc", rows, picture / 255, columns)
    left = round((width - 8) / 2)
    name = "tensor-bicubic-antialias" if antialias else "tensor-bicubic"
    np.testing.assert_allclose(squares(picture, name), whole[:, left : left + 8], atol=2e-6)


def test_a_halved_row_without_antialias_is_what_the_hand_computes():
    row = np.array([0, 0, 255, 255, 0, 0, 0, 0], np.uint8)
    picture = np.broadcast_to(row[None, :, None], (8, 8, 3)).copy()
    # Weights of the four neighbours at half a pixel: -3/32, 19/32, 19/32, -3/32.
    expected = [-3 / 32, 38 / 32, -3 / 32, 0]
    np.testing.assert_allclose(squares(picture, "tensor-bicubic", 4)[1, :, 0], expected, atol=1e-6)


def test_antialias_is_close_to_pillow_and_its_absence_is_not():
    picture = noise(96, 96)
    pillow = squares(picture, "pillow-bicubic")
    smooth = np.abs(squares(picture, "tensor-bicubic-antialias") - pillow).mean() * 255
    rough = np.abs(squares(picture, "tensor-bicubic") - pillow).mean() * 255
    assert smooth < 0.5 < 20 < rough


def test_an_unknown_way_of_resizing_is_named():
    with pytest.raises(ConfigError, match="unknown resize method 'bilinear'"):
        preprocess([noise(4, 4)], replace(SETTINGS, resize="bilinear"))


def test_the_record_says_how_pictures_are_prepared():
    words = str(replace(SETTINGS, resize="tensor-bicubic"))
    assert "without antialias" in words
    assert "shorter side to 4 px" in words
    assert len({str(replace(SETTINGS, resize=name)) for name in RESIZES}) == len(RESIZES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_center_crop": False}, "do_center_crop=False"),
        ({"resample": 2}, "resample=2"),
        ({"rescale_factor": 1.0}, "rescale_factor=1.0"),
        ({"size": {"height": 4, "width": 4}}, "size={'height': 4"),
        ({"size": {"shortest_edge": 5}}, "they must be one square"),
    ],
)
def test_settings_of_other_steps_are_refused(tmp_path, change, message):
    write_image_settings(SETTINGS, tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RecordError, match=message):
        read_image_settings(tmp_path)
