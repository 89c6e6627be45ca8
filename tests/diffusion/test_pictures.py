import hashlib

import numpy as np
import pytest

from selma.core.errors import BackendError, RecordError
from selma.core.seeds import derive_seed
from selma.diffusion.requests import Request, as_images, make_requests, picture_row, to_uint8
from selma.pictures.png import count_black, decode_png, encode_png

REQUEST = Request("count-0001", 1, "two red cats", 7)
NOISE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def test_a_picture_survives_png_unchanged():
    assert np.array_equal(decode_png(encode_png(NOISE), "x"), NOISE)


def test_png_holds_pixels_and_no_metadata():
    data = encode_png(NOISE)
    assert data == encode_png(NOISE.copy())
    for chunk in (b"tEXt", b"tIME", b"pHYs", b"gAMA"):
        assert chunk not in data


@pytest.mark.parametrize("cut", [0, 20, -40])
def test_half_a_png_is_refused(cut):
    with pytest.raises(RecordError, match="row 3: .* bytes are not a whole picture"):
        decode_png(encode_png(NOISE)[:cut], "row 3")


def test_pixels_are_rounded_to_the_nearest_level():
    pixels = np.full((1, 1, 1, 3), 0.5, np.float32)
    pixels[0, 0, 0, 1:] = [0.0, 1.0]
    assert to_uint8(pixels, ["x"])[0].tolist() == [[[128, 0, 255]]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_picture_that_is_not_finite_is_refused_by_name(value):
    pixels = np.zeros((2, 1, 1, 3), np.float32)
    pixels[1, 0, 0, 2] = value
    with pytest.raises(BackendError, match="'b/0' is not finite"):
        to_uint8(pixels, ["a/0", "b/0"])


def test_a_row_says_size_seed_and_hash():
    row = picture_row(REQUEST, NOISE)
    assert (row["width"], row["height"], row["seed"]) == (6, 4, 7)
    assert row["sha256"] == hashlib.sha256(row["image"]["bytes"]).hexdigest()
    assert as_images([row])[0] == {
        "prompt_id": "count-0001",
        **{k: v for k, v in row.items() if k != "item_id"},
    }


def test_black_pictures_are_counted():
    black = picture_row(REQUEST, np.zeros((4, 6, 3), np.uint8))
    nearly = picture_row(REQUEST, np.eye(4, 6, dtype=np.uint8)[..., None].repeat(3, axis=2))
    assert count_black([black, nearly, black]) == 2


def test_seeds_come_from_what_is_drawn():
    requests = make_requests({"b": "dog", "a": "cat"}, 2, 5, "images", "count")
    assert [(r.item_id, r.sample, r.prompt) for r in requests] == [
        ("a", 0, "cat"),
        ("a", 1, "cat"),
        ("b", 0, "dog"),
        ("b", 1, "dog"),
    ]
    assert requests[3].seed == derive_seed(5, "images", "count", "b", 1)
    assert make_requests({"b": "dog"}, 1, 5, "images", "count") == [requests[2]]
    assert make_requests({"b": "dog"}, 1, 5, "images", "count", first=1) == [requests[3]]
