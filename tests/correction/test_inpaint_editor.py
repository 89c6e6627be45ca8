"""The inpainting editor changes what its masks cover, and not one pixel more."""

import numpy as np
import pytest
from inpainting import (
    CAT,
    DOG,
    JOBS,
    MOVED_DOG,
    NEW,
    OLD,
    OTHER,
    OWL,
    RED_DOG,
    inside,
    job,
    noise_picture,
    settings,
)
from PIL import Image

from selma.correction.editors.inpaint.editing import load_inpaint_editor
from selma.correction.geometry import cells_of
from selma.correction.layout import Box, Named
from selma.correction.scene import Label
from selma.correction.segmenters.flat import BoxSegmenter

# diffusers with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
KINDS = ("sd1", "sdxl", "sd1-9", "sdxl-9")


@pytest.fixture(scope="module")
def models(tiny_backbones, tiny_inpainting):
    """Folders of four models by kind: plain ones and inpainting ones of two families."""
    return {k: (tiny_inpainting if k.endswith("-9") else tiny_backbones) / k for k in KINDS}


@pytest.fixture(scope="module")
def editor_of(models):
    """A function that loads an editor by the model's kind, once for each setting."""
    loaded = {}

    def load(kind="sd1", **changes):
        key = (kind, tuple(changes.items()))
        if key not in loaded:
            options = settings(models[kind], **changes)
            loaded[key] = load_inpaint_editor(options, BoxSegmenter(), device="cpu")
        return loaded[key]

    return load


def changed(before, after):
    """Which pixels differ, (height, width)."""
    return (np.asarray(before.convert("RGB")) != np.asarray(after)).any(axis=2)


MASKS = {"remove": (OLD,), "add": (NEW,), "move": (OLD, NEW), "attribute": (OLD,)}


@pytest.mark.parametrize("operation", JOBS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_operation_changes_its_mask_and_nothing_else(editor_of, kind, operation):
    picture = noise_picture((32, 32))
    after = editor_of(kind).edit(picture, job(*JOBS[operation]))
    assert after.mode == "RGB" and after.size == picture.size
    different = changed(picture, after)
    dilation = 0 if operation == "add" else 1
    assert not (different & ~inside(picture.size, *MASKS[operation], by=dilation)).any()
    for box in MASKS[operation]:
        assert different[inside(picture.size, box)].mean() > 0.9


@pytest.mark.parametrize("size", [(32, 32), (50, 20), (21, 47), (128, 96), (1, 1), (5, 3)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_pictures_of_any_size_and_mode_keep_their_pixels_and_size(editor_of, size, mode):
    picture = noise_picture(size, mode)
    after = editor_of().edit(picture, job((CAT,), (CAT, OWL)))
    assert after.size == size
    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[cells_of(NEW, mask.shape).slices] = True
    assert not (changed(picture, after) & ~mask).any()
    assert changed(picture, after)[mask].any()


def test_a_picture_is_turned_as_its_exif_entry_says(editor_of, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right
    noise_picture((40, 24)).save(tmp_path / "turned.png", exif=exif)
    turned = Image.open(tmp_path / "turned.png")
    after = editor_of().edit(turned, job((CAT,), (CAT, OWL)))
    assert after.size == (24, 40)
    upright = noise_picture((40, 24)).rotate(-90, expand=True)
    assert not (changed(upright, after) & ~inside(after.size, NEW)).any()


def test_a_kept_object_is_not_taken_for_background_where_a_hole_touches_it(editor_of):
    picture = noise_picture((32, 32))
    beside = Named(Label(None, "cat"), 1, Box(0.25, 0.5, 0.25, 0.25))  # shares an edge with OLD
    after = editor_of().edit(picture, job((DOG, beside), (beside,)))
    assert not changed(picture, after)[inside(picture.size, beside.box)].any()


def test_a_moved_object_is_pasted_pixel_by_pixel_inside_of_its_seam(editor_of):
    picture = noise_picture((64, 64))
    after = editor_of().edit(picture, job((DOG,), (MOVED_DOG,)))
    old, new = np.asarray(picture)[32:48, 0:16], np.asarray(after)[0:16, 32:48]
    # the seam is 3 px of a canvas of 32, so 2 px to each side here; it starts at no border
    np.testing.assert_array_equal(new[:14, 2:14], old[:14, 2:14])
    assert (new[-2:] != old[-2:]).any()


def test_a_resized_object_has_the_size_it_shall_have(editor_of):
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste((200, 0, 0), (0, 32, 16, 48))
    larger = Named(Label(None, "dog"), 1, Box(0.25, 0.25, 0.5, 0.5))
    after = np.asarray(editor_of(dilation_px=1).edit(picture, job((DOG,), (larger,))))
    red = (after == (200, 0, 0)).all(axis=2)
    assert red[20:44, 20:44].all()
    assert red[:14].sum() == red[:, 50:].sum() == 0


def test_several_operations_are_done_at_once(editor_of):
    current = (DOG, CAT, Named(Label(None, "cup"), 1, Box(0.5, 0.5, 0.2, 0.2)))
    dog = Named(Label(None, "dog"), 1, Box(0.25, 0.25, 0.25, 0.25))
    red_cat = Named(Label("red", "cat"), 1, OTHER)
    goal = (dog, red_cat, OWL)
    todo = job(current, goal)
    assert todo.plan.counts() == {"remove": 1, "add": 1, "move": 1, "attribute": 1}
    picture = noise_picture((32, 32))
    after = editor_of().edit(picture, todo)
    boxes = (OLD, dog.box, current[2].box, OTHER, NEW)
    different = changed(picture, after)
    assert not (different & ~inside(picture.size, *boxes, by=1)).any()
    assert all(different[inside(picture.size, box)].mean() > 0.6 for box in boxes)


def test_the_seed_decides_the_picture_and_nothing_else_does(editor_of):
    import torch

    picture = noise_picture((32, 32))
    editor = editor_of()
    once = editor.edit(picture, job(*JOBS["add"]))
    torch.manual_seed(99)
    editor.edit(picture, job(*JOBS["move"], seed=7))
    again = editor.edit(picture, job(*JOBS["add"]))
    other = editor.edit(picture, job(*JOBS["add"], seed=2))
    assert once.tobytes() == again.tobytes() != other.tobytes()


def test_an_object_is_drawn_alike_whatever_else_is_done_far_from_it(editor_of):
    """Its seed comes from its name, not from its place in the plan."""
    picture = Image.new("RGB", (32, 32), "gray")
    zebra = Named(Label(None, "zebra"), 1, Box(0.0, 0.75, 0.25, 0.25))
    one = editor_of().edit(picture, job((CAT,), (CAT, OWL)))
    two = editor_of().edit(picture, job((CAT,), (CAT, OWL, zebra)))
    mask = inside(picture.size, OWL.box)
    np.testing.assert_array_equal(np.asarray(one)[mask], np.asarray(two)[mask])


def test_a_change_of_attribute_begins_from_what_is_there(editor_of):
    picture = noise_picture((32, 32))
    near = editor_of(inference_steps=10, attribute_strength=0.1)
    far = editor_of(inference_steps=10, attribute_strength=0.9)
    low, high = (one.edit(picture, job((DOG,), (RED_DOG,))) for one in (near, far))
    mask = inside(picture.size, OLD)
    assert (np.asarray(low)[mask] != np.asarray(high)[mask]).any()


def test_a_feather_mixes_old_and_new_near_the_edge_of_a_mask(editor_of):
    picture = noise_picture((32, 32))
    hard, soft = (editor_of(feather_px=f).edit(picture, job(*JOBS["add"])) for f in (0, 3))
    old, new, mixed = (np.asarray(one).astype(float) for one in (picture, hard, soft))
    row, column = 7, 20  # the lowest row of the box, the picture's border is none
    expected = 0.75 * old[row, column] + 0.25 * new[row, column]
    np.testing.assert_allclose(mixed[row, column], expected, atol=0.51)
    np.testing.assert_array_equal(mixed[0, 20], new[0, 20])  # four pixels and more inside
    assert not (changed(picture, soft) & ~inside(picture.size, NEW)).any()


def test_no_operation_gives_the_same_pixels(editor_of):
    picture = noise_picture((32, 32))
    assert editor_of().edit(picture, job((CAT,), (CAT,))).tobytes() == picture.tobytes()
