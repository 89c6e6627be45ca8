"""Where moved objects go, and what masks cover, on grids of any shape."""

import random

import numpy as np
import pytest
from PIL import Image
from sld_demo import EDITS

from selma.core.errors import ConfigError
from selma.correction.geometry import (
    ALIGNMENTS,
    Cells,
    cells_of,
    move_cells,
    resize_for,
    resize_picture,
    scale_to_fit,
    transfer,
)  # fmt: skip
from selma.correction.layout import Box
from selma.correction.masks import (
    background_mask,
    choose_candidate,
    frozen_mask,
    paste_order,
    removal_mask,
    to_grid,
    union_of,
)  # fmt: skip

_, CURRENT, RESIZED = EDITS["indoor_scene_resize"]


def test_the_demos_cat_keeps_its_shape_when_it_grows():
    old, new = Box(*CURRENT["cat #1"]), Box(*RESIZED["cat #1"])
    assert scale_to_fit(old, new) == pytest.approx(1.1681, abs=5e-5)
    way = resize_for(old, new, width=512, height=512)
    assert (way.box.width, way.box.height) == pytest.approx((0.515, 0.695), abs=5e-4)
    assert new.x + way.box.width == pytest.approx(0.972, abs=5e-4)


@pytest.mark.parametrize("name", ["indoor_scene_move", "indoor_table_swap", "indoor_scene_swap"])
def test_objects_that_only_move_keep_their_size(name):
    _, current, goal = EDITS[name]
    for one in current:
        assert scale_to_fit(Box(*current[one]), Box(*goal[one])) == pytest.approx(1)


def test_a_larger_picture_is_cut_from_the_object_on_as_far_as_it_goes():
    """Twice as large: 80 × 40 pixels; the object begins at 40, 24, the window at 40, 20 at most."""
    way = resize_for(Box(0.5, 0.6, 0.2, 0.2), Box(0, 0, 0.4, 0.4), width=40, height=20)
    assert (way.width, way.height, way.left, way.top) == (80, 40, 40, 20)
    assert way.box.values() == pytest.approx([0, 0.2, 0.4, 0.4])


def test_a_smaller_picture_lies_in_the_top_left_corner():
    way = resize_for(Box(0.5, 0.6, 0.4, 0.4), Box(0, 0, 0.3, 0.2), width=40, height=20)
    assert (way.scale, way.width, way.height, way.left, way.top) == (0.5, 20, 10, 0, 0)
    assert way.box.values() == pytest.approx([0.25, 0.3, 0.2, 0.2])


@pytest.mark.parametrize("new", [[0.1, 0.1, 0.6, 0.6], [0.6, 0.2, 0.1, 0.1]])
def test_the_object_lies_in_its_box_of_the_resized_picture(new):
    """A black object on white; its box holds nearly all that is black."""
    values = np.full((80, 120, 3), 255, np.uint8)
    values[32:48, 72:96] = 0
    old = Box(0.6, 0.4, 0.2, 0.2)
    way = resize_for(old, Box(*new), width=120, height=80)
    black = 1 - np.asarray(resize_picture(Image.fromarray(values), way))[..., 0] / 255
    assert black.shape == (80, 120)
    assert black.sum() == pytest.approx(16 * 24 * way.scale**2, rel=0.05)
    cells = cells_of(way.box, black.shape)
    assert black[cells.slices].sum() == pytest.approx(black.sum(), rel=0.05)


def test_a_very_small_object_is_not_enlarged_at_the_cost_of_all_memory():
    old = Box(0.5, 0.5, 0.0005, 0.0005)
    way = resize_for(old, Box(0, 0, 1, 1), width=64, height=64)
    assert way.width == 128000
    assert resize_picture(Image.new("RGB", (64, 64)), way).size == (64, 64)


def random_box(draw):
    width, height = draw.uniform(0.02, 0.9), draw.uniform(0.02, 0.9)
    return Box(draw.uniform(0, 1 - width), draw.uniform(0, 1 - height), width, height)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize(("width", "height"), [(512, 512), (768, 512), (384, 640)])
def test_a_moved_object_lies_in_its_target_with_its_area_scaled(width, height, alignment):
    draw, grid = random.Random(width), (height // 8, width // 8)
    for _ in range(200):
        old, new = random_box(draw), random_box(draw)
        way = resize_for(old, new, width=width, height=height)
        assert min(way.box.x, way.box.y, way.left, way.top) >= -1e-9
        assert max(way.box.right, way.box.bottom) <= 1 + 0.5 / min(width, height)
        copied = transfer(way.box, new, grid, alignment)
        own, place, target = copied.source, copied.target, cells_of(new, grid)
        assert target.left <= place.left and target.top <= place.top
        assert place.left + place.width <= target.left + target.width
        assert place.top + place.height <= target.top + target.height
        for cells, size, count in (
            (own.width, old.width, grid[1]), (own.height, old.height, grid[0]),
        ):  # fmt: skip
            assert cells == pytest.approx(size * way.scale * count, abs=1.2)
        assert place.width == own.width and place.height == own.height


def test_where_an_object_stands_in_a_target_that_it_does_not_fill():
    source, target = Box(0, 0, 0.2, 0.2), Box(0.5, 0.5, 0.4, 0.4)
    places = {name: transfer(source, target, (20, 10), name).target for name in ALIGNMENTS}
    assert places["top_left"] == Cells(5, 10, 2, 4)
    assert places["centre"] == Cells(6, 12, 2, 4)
    assert places["bottom"] == Cells(6, 14, 2, 4)
    with pytest.raises(ConfigError, match="unknown alignment 'left'"):
        transfer(source, target, (20, 10), "left")


def test_a_tiny_object_keeps_a_cell():
    assert cells_of(Box(0.51, 0.52, 0.001, 0.001), (8, 16)) == Cells(8, 4, 1, 1)
    assert cells_of(Box(0.999, 0.999, 0.001, 0.001), (8, 16)) == Cells(15, 7, 1, 1)
    assert cells_of(Box(0.29, 0, 0.3, 1), (1, 100)) == Cells(29, 0, 30, 1)


def test_only_the_objects_cells_are_copied_and_nothing_wraps_around():
    values = np.arange(24.0).reshape(1, 4, 6)
    mask = np.zeros((4, 6), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[3, 5] = True  # the last one is not the object's
    way = transfer(Box(0, 0, 2 / 6, 0.5), Box(4 / 6, 0.5, 2 / 6, 0.5), (4, 6), "top_left")
    moved, there = move_cells(values, mask, way)
    assert np.argwhere(there).tolist() == [[2, 4], [3, 5]]
    assert moved[0, 2, 4] == values[0, 0, 0] and moved[0, 3, 5] == values[0, 1, 1]
    assert (moved != values).sum() == 2 and values[0, 2, 4] == 16


def rectangle(shape, top, left, height, width):
    mask = np.zeros(shape, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_candidates_are_united_dilated_and_brought_to_the_latent_grid():
    shape = (32, 48)
    candidates = np.stack([rectangle(shape, 8, 8, 8, 8), rectangle(shape, 16, 40, 8, 8)])
    mask = to_grid(candidates, dilation_px=1, grid=(4, 6))
    assert np.argwhere(mask).tolist() == [[1, 1], [2, 5]]
    # 4 px more on each side: pixels 4 to 19, and the cells' middles are 4, 12, 20, 28
    wider = to_grid(candidates[:1], dilation_px=9, grid=(4, 6))
    assert np.argwhere(wider).tolist() == [[r, c] for r in (0, 1) for c in (0, 1)]


def test_dilation_has_its_radius_and_stops_at_the_edge():
    dot = rectangle((7, 9), 1, 4, 1, 1)[None]
    mask = to_grid(dot, dilation_px=5, grid=(7, 9))
    assert (mask == rectangle((7, 9), 0, 2, 4, 5)).all()
    with pytest.raises(ValueError, match="odd"):
        to_grid(dot, dilation_px=2, grid=(7, 9))


def test_what_is_preserved_is_not_removed():
    gone, kept = rectangle((8, 8), 0, 0, 4, 8)[None], rectangle((8, 8), 2, 0, 6, 4)[None]
    options = {"dilation_px": 1, "grid": (8, 8)}
    mask = removal_mask([gone], [kept], **options)
    assert (mask == (gone[0] & ~kept[0])).all() and mask.sum() == 24
    assert (removal_mask([gone], [], **options) == gone[0]).all()
    assert not removal_mask([], [kept], **options).any()


def test_only_the_hole_that_nothing_covers_is_not_frozen():
    removal, edited = rectangle((4, 4), 0, 0, 2, 4), rectangle((4, 4), 0, 0, 4, 2)
    assert np.argwhere(~frozen_mask(edited, removal)).tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert (background_mask(edited, removal) == rectangle((4, 4), 2, 2, 2, 2)).all()


def test_small_masks_are_pasted_last():
    masks = [rectangle((4, 4), 0, 0, size, size) for size in (2, 4, 1, 2)]
    assert paste_order(masks) == [1, 0, 3, 2]
    assert union_of(masks, (4, 4)).all() and not union_of([], (4, 4)).any()


@pytest.mark.parametrize(
    ("confidences", "chosen"), [((0.9, 0.9, 0.9), 1), ((0.9, 0.8, 0.9), 0), ((0.8, 0.8, 0.9), 2)]
)
def test_a_generated_objects_mask_is_large_certain_and_in_its_box(confidences, chosen):
    """Areas 4, 9 and 16, of which 16 goes off an unsure one, and off the third beside the box."""
    shape, box = (10, 10), Box(0, 0, 0.3, 0.3)
    masks = [rectangle(shape, 0, 0, size, size) for size in (2, 3)]
    masks.append(rectangle(shape, 5, 5, 4, 4))
    assert choose_candidate(np.stack(masks), np.array(confidences), box) == chosen
