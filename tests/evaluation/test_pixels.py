"""Preprocessing is ours, so that no image backend can change a score."""

import json

import numpy as np
import pytest

from selma.errors import MissingDataError, RecordError
from selma.evaluation.pixels import (
    ImageSettings,
    preprocess,
    read_image_settings,
    write_image_settings,
)

SETTINGS = ImageSettings(4, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))


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
