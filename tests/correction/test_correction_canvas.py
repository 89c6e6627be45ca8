"""Pictures of any mode and shape come onto a canvas, and come back from it."""

import numpy as np
import pytest
from PIL import Image

from selma.core.errors import RecordError
from selma.correction.canvas import GRAY, fit_to_canvas, to_rgb
from selma.correction.layout import Box


def picture(width, height, mode="RGB"):
    values = np.random.RandomState(0).randint(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode):
    assert to_rgb(picture(5, 3, mode)).mode == "RGB"


def test_what_is_clear_becomes_white():
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (255, 0, 0, 255))
    assert np.asarray(to_rgb(clear)).tolist() == [[[255, 255, 255], [255, 0, 0]]]


def test_a_picture_of_16_bits_is_refused():
    with pytest.raises(RecordError, match="I;16; save it with 8 bits"):
        to_rgb(Image.fromarray(np.zeros((2, 2), np.uint16)))


def test_a_picture_is_turned_as_its_exif_entry_says(tmp_path):
    lying = picture(6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    lying.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        laid, fit = fit_to_canvas(opened, (8, 12))
    assert fit.picture == (4, 6) and fit.inner == (0, 0, 8, 12)
    assert laid.size == (8, 12)


def test_a_wide_picture_lies_in_the_middle_between_gray_bars():
    laid, fit = fit_to_canvas(picture(64, 32), (64, 64))
    pixels = np.asarray(laid)
    assert fit.inner == (0, 16, 64, 32)
    assert (pixels[:16] == GRAY).all() and (pixels[48:] == GRAY).all()
    assert (np.asarray(fit.back(laid)) == np.asarray(picture(64, 32))).all()
    assert fit.onto_canvas(Box(0.25, 0.5, 0.5, 0.5)) == Box(0.25, 0.5, 0.5, 0.25)


@pytest.mark.parametrize("size", [(512, 512), (100, 77), (77, 301), (1, 900), (333, 1)])
@pytest.mark.parametrize("factor", [1, 2])
def test_what_comes_back_has_the_size_that_came(size, factor):
    laid, fit = fit_to_canvas(picture(*size), (96, 64))
    assert laid.size == (96, 64)
    assert fit.back(laid.resize((96 * factor, 64 * factor))).size == size


def test_a_picture_of_the_canvas_size_is_not_touched():
    own = picture(32, 16)
    laid, fit = fit_to_canvas(own, (32, 16))
    assert (np.asarray(laid) == np.asarray(own)).all()
    assert (np.asarray(fit.back(laid)) == np.asarray(own)).all()
