"""The README's picture shows prompts over the models' pictures, enlarged without smoothing."""

import dataclasses
import io

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from selma.core.errors import RecordError
from selma.report.grid import (
    EDGE,
    GAP_PX,
    LEFT_PX,
    LINE_PX,
    PAGE,
    SIDE_PX,
    TEXT_LINES,
    as_png,
    render_grid,
    wrap,
)

from .conftest import examples_of, item

MODELS = ("old", "new")
HEAD = GAP_PX + TEXT_LINES * LINE_PX + 8
ROW = SIDE_PX + LINE_PX + GAP_PX


def drawn(examples, models=MODELS):
    return Image.open(io.BytesIO(render_grid(examples, models)))


def pair(old=1, new=2, **changes):
    return examples_of([item("a", "count", **changes)], lambda _: old, lambda _: new)


def test_each_picture_stands_in_its_column_and_row():
    found = examples_of([item("a", "count"), item("b", "count")],
                        {"a": 0, "b": 1}.get, lambda _: 2)  # fmt: skip
    grid = drawn(found)
    assert grid.size == (LEFT_PX + 2 * (SIDE_PX + GAP_PX), HEAD + 2 * ROW)
    places = {
        (column, row): grid.getpixel((LEFT_PX + column * (SIDE_PX + GAP_PX) + 5,
                                      HEAD + row * ROW + 5))
        for column in (0, 1) for row in (0, 1)
    }  # fmt: skip
    assert places == {
        (0, 0): (0, 0, 0), (1, 0): (100, 0, 0), (0, 1): (200, 0, 0), (1, 1): (200, 0, 0)
    }  # fmt: skip
    assert grid.info == {}


@pytest.mark.parametrize(
    ("one", "other", "box"),
    [
        (drawn(pair()), drawn(pair(), ("old", "x")), (0, HEAD + ROW, LEFT_PX, HEAD + 2 * ROW)),
        (drawn(pair()), drawn(pair(prompt="one")), (LEFT_PX - 2, 0, 999, HEAD)),
    ],
    ids=["name", "prompt"],
)  # fmt: skip
def test_name_and_prompt_are_written_in_their_place(one, other, box):
    left, top, right, bottom = ImageChops.difference(one, other).getbbox()
    assert left >= box[0] and top >= box[1] and right <= box[2] and bottom <= box[3]


def test_the_answers_that_count_are_written_below_or_the_score():
    assert render_grid(pair(new=-1), MODELS) == render_grid(pair(new=0), MODELS)
    (example,) = pair()
    for verdicts in ((), example.pictures[0].verdicts):
        notes = []
        for good in (0, 1):
            score = dataclasses.replace(example.pictures[0], score=good, verdicts=verdicts[good:])
            changed = dataclasses.replace(example, pictures=(score, example.pictures[1]))
            notes.append(drawn([changed]))
        left, top, _, bottom = ImageChops.difference(*notes).getbbox()
        assert left >= LEFT_PX - 2 and HEAD + SIDE_PX < top < bottom <= HEAD + ROW


def test_a_long_name_does_not_reach_into_the_pictures():
    grid = drawn(pair(), ("old", "a_very_long_name_of_a_model"))
    strip = grid.crop((LEFT_PX - 2, HEAD + ROW, LEFT_PX - 1, HEAD + ROW + SIDE_PX))
    assert strip.getcolors() == [(SIDE_PX, (255, 255, 255))]


def test_a_measure_without_answers_and_a_single_model_can_be_drawn():
    (example,) = examples_of([item("a", "count")], lambda _: 1, lambda _: 2, answered=False)
    alone = dataclasses.replace(example, pictures=example.pictures[1:])
    assert drawn([alone], ("new",)).size[1] == HEAD + ROW


def test_the_same_examples_give_the_same_bytes():
    assert render_grid(pair(), MODELS) == render_grid(pair(), MODELS)


def test_a_picture_that_is_no_png_is_refused():
    (example,) = pair()
    broken = dataclasses.replace(example.pictures[0], png=b"GIF89a")
    with pytest.raises(RecordError, match="not a whole PNG"):
        render_grid([dataclasses.replace(example, pictures=(broken, broken))], MODELS)


def test_long_prompts_are_broken_and_cut_within_the_width():
    draw, font = ImageDraw.Draw(Image.new("RGB", (8, 8))), ImageFont.load_default(size=12)
    lines = wrap("a large red star " * 20, draw, font, SIDE_PX, 4)
    assert len(lines) == 4 and lines[-1].endswith("...")
    assert all(draw.textlength(line, font=font) <= SIDE_PX for line in lines)
    assert wrap("two stars", draw, font, SIDE_PX, 4) == ["two stars"]


def test_a_picture_has_an_edge_of_one_pixel_and_its_prompt_ends_above_it():
    grid = drawn(pair())
    for row in (0, 1):
        left, top = LEFT_PX - 1, HEAD + row * ROW - 1
        edge = {grid.getpixel((left + at, top)) for at in range(SIDE_PX + 2)}
        edge |= {grid.getpixel((left, top + at)) for at in range(SIDE_PX + 2)}
        edge |= {grid.getpixel((left + SIDE_PX + 1, top + at)) for at in range(SIDE_PX + 2)}
        assert edge == {EDGE}
        assert grid.getpixel((left - 1, top)) == grid.getpixel((left, top - 1)) == PAGE
    bare, lines = drawn(pair(prompt=".")), drawn(pair(prompt="ggg " * 40))
    assert bare.getpixel((1, 1)) == PAGE == (255, 255, 255)
    box = ImageChops.difference(bare, lines).getbbox()
    assert box[1] >= GAP_PX and HEAD - LINE_PX <= box[3] <= HEAD - 3


def test_a_picture_that_is_larger_on_one_side_is_made_smaller_smoothly():
    stripes = Image.new("RGB", (SIDE_PX + 4, 8))
    for x in range(0, SIDE_PX + 4, 2):
        stripes.paste((255, 255, 255), (x, 0, x + 1, 8))
    (example,) = pair()
    old = dataclasses.replace(example.pictures[0], png=as_png(stripes))
    grid = drawn([dataclasses.replace(example, pictures=(old, example.pictures[1]))])
    row = {grid.getpixel((LEFT_PX + x, HEAD + 5))[0] for x in range(SIDE_PX)}
    assert row - {0, 255}  # greys
