"""The README's picture shows prompts over the two models' pictures, enlarged without smoothing."""

import io

import pytest
from PIL import Image, ImageDraw, ImageFont

from selma.core.errors import RecordError
from selma.report.grid import GAP_PX, LEFT_PX, SIDE_PX, render_grid, wrap

from .conftest import examples_of, item


def test_the_grid_has_a_column_per_example_and_the_colours_of_the_pictures():
    examples = examples_of([item("a", "count"), item("b", "count")], lambda _: 1, lambda _: 2)
    grid = Image.open(io.BytesIO(render_grid(examples)))
    assert grid.width == LEFT_PX + 2 * (SIDE_PX + GAP_PX)
    colours = {colour for _, colour in grid.getcolors(maxcolors=10_000)}
    assert {(100, 0, 0), (200, 0, 0)} <= colours
    assert grid.info == {}


def test_the_same_examples_give_the_same_bytes():
    benchmark = [item("a", "count")]
    first, second = (examples_of(benchmark, lambda _: 0, lambda _: 2) for _ in range(2))
    assert render_grid(first) == render_grid(second)


def test_a_picture_that_is_no_png_is_told():
    (example,) = examples_of([item("a", "count")], lambda _: 0, lambda _: 2)
    object.__setattr__(example.base, "png", b"GIF89a")
    with pytest.raises(RecordError, match="not a whole PNG"):
        render_grid([example])


def test_long_prompts_are_broken_and_cut_within_the_width():
    draw, font = ImageDraw.Draw(Image.new("RGB", (8, 8))), ImageFont.load_default(size=12)
    lines = wrap("a large red star " * 20, draw, font, SIDE_PX, 4)
    assert len(lines) == 4 and lines[-1].endswith("...")
    assert all(draw.textlength(line, font=font) <= SIDE_PX for line in lines)
    assert wrap("two stars", draw, font, SIDE_PX, 4) == ["two stars"]
