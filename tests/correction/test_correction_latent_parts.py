import numpy as np
import pytest
import torch
from gated_model import WholeBox, latent_settings
from PIL import Image

from selma.correction.editors.latent.attributes import change_attribute
from selma.correction.editors.latent.layers import find_layers
from selma.correction.editors.latent.levels import make_levels
from selma.correction.editors.latent.moving import move_object
from selma.correction.editors.latent.objects import draw_object, object_mask
from selma.correction.editors.latent.studio import Studio
from selma.correction.layout import Box, Named
from selma.correction.plan import Change
from selma.correction.scene import Label, make_scene
from selma.correction.segmenters.protocol import Candidates
from selma.diffusion.loading import load_backbone
from selma.diffusion.tiny import write_tiny_gated

SCENE = make_scene([("cat", [None])], "a scene", "")
GRID = (6, 10)
PICTURE = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8), "RGB"
)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gated") / "model"
    write_tiny_gated(folder, prediction_type="v_prediction", latent_size=GRID)
    backbone = load_backbone(str(folder), "float32", "cpu")
    levels = make_levels(backbone.noise_scheduler.config, 4)
    layers = find_layers(backbone.denoiser, None)
    return Studio(
        backbone, levels, WholeBox(), latent_settings(folder, inference_steps=4), layers, seed=5
    )


def named(box, label=("red", "cat")):
    return Named(Label(*label), 1, box)


@torch.no_grad()
def test_a_pictures_stack_ends_in_its_latents(studio):
    stack = studio.invert(PICTURE, "picture")
    assert stack.shape == (5, 4, *GRID)
    torch.testing.assert_close(stack[-1:], studio.encode(PICTURE, "picture"))
    assert not torch.equal(studio.encode(PICTURE, "picture"), studio.encode(PICTURE, "other"))


@torch.no_grad()
def test_an_object_is_drawn_into_its_box_on_the_background(studio):
    box = Box(0.2, 0.0, 0.3, 0.5)
    background = studio.invert(PICTURE, "picture")
    drawn = draw_object(named(box), SCENE, background, studio)
    inside = np.zeros(GRID, dtype=bool)
    inside[:3, 2:5] = True
    stack = drawn.layer.stack
    assert stack.shape == (5, 4, *GRID)
    assert torch.equal(stack[0][:, ~inside], background[0][:, ~inside])
    own = studio.noise("object", "red cat #1")[0]
    mixed = 0.9**0.5 * background[0] + 0.1**0.5 * own
    torch.testing.assert_close(stack[0][:, inside], mixed[:, inside])
    np.testing.assert_array_equal(drawn.layer.mask, inside)


@torch.no_grad()
def test_what_an_objects_word_was_looked_at_is_kept_for_the_guided_steps(studio):
    background = studio.invert(PICTURE, "picture")
    reference = draw_object(named(Box(0, 0, 1, 1)), SCENE, background, studio).reference
    assert len(reference) == 2  # so many steps are guided
    shapes = [tuple(one.shape) for one in reference[0].values()]
    assert shapes == [(2, 15), (2, 60), (2, 60), (2, 60)]
    assert not torch.equal(*(list(one.values())[0] for one in reference))


def test_an_object_in_which_nothing_is_found_has_its_box():
    nothing = Candidates(np.zeros((2, 24, 40), dtype=bool), np.ones(2))
    mask = object_mask(nothing, Box(0.5, 0.5, 0.2, 0.5), GRID)
    assert np.argwhere(mask).tolist() == [[r, c] for r in (3, 4, 5) for c in (5, 6)]


def test_a_cell_that_is_touched_near_its_middle_belongs_to_the_object():
    masks = np.zeros((1, 24, 40), dtype=bool)
    masks[0, 2, 2] = True  # of the pixels 1 and 2 in the middle of the first cell
    masks[0, 0, 4] = True  # a corner of the second one
    mask = object_mask(Candidates(masks, np.ones(1)), Box(0, 0, 0.2, 0.2), GRID)
    assert np.argwhere(mask).tolist() == [[0, 0]]


@torch.no_grad()
def test_a_moved_object_takes_its_latents_along(studio):
    change = Change(named(Box(0.1, 0.0, 0.2, 0.5)), named(Box(0.6, 0.5, 0.2, 0.5)))
    layer = move_object(change, PICTURE, studio)
    stack = studio.invert(PICTURE, "move", "red cat #1")  # of its old size, so not resized
    assert np.argwhere(layer.mask).tolist() == [[r, c] for r in (3, 4, 5) for c in (6, 7)]
    for level, own in zip(layer.stack, stack, strict=True):
        torch.testing.assert_close(level[:, 3:6, 6:8], own[:, 0:3, 1:3])


@torch.no_grad()
def test_a_larger_object_stays_inside_its_new_box(studio):
    change = Change(named(Box(0.5, 0.5, 0.2, 0.3)), named(Box(0.0, 0.0, 0.4, 0.9)))
    mask = move_object(change, PICTURE, studio).mask  # twice as large
    inside = np.zeros(GRID, dtype=bool)
    inside[:5, :4] = True
    assert mask.sum() >= 8
    assert not mask[~inside].any()


@torch.no_grad()
def test_an_attribute_changes_inside_the_mask_and_late_enough(studio):
    box = Box(0.2, 0.0, 0.3, 0.5)
    change = Change(named(box, (None, "cat")), named(box))
    source = studio.invert(PICTURE, "picture")
    layer = change_attribute(change, SCENE, PICTURE, source, studio)
    assert torch.equal(layer.stack[:2], source[:2])  # of 4 steps, int(4 · 0.8) redraw
    outside = torch.from_numpy(~layer.mask)
    assert torch.equal(layer.stack[:, :, outside], source[:, :, outside])
    changed = (layer.stack - source).abs().amax(dim=(1, 2, 3)) > 0.01
    assert changed.tolist() == [False, False, True, True, True]
