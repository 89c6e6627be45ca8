import warnings

import numpy as np
import pytest
import torch

from selma.core.seeds import derive_seed
from selma.foundation.autoencoder import build_autoencoder
from selma.foundation.denoiser import Denoiser, build_text_encoder, build_unet, save_pipeline
from selma.foundation.grounded_pictures import GroundedPicture, boxes_of, held_out_picture
from selma.foundation.grounding import (
    build_gated_unet,
    gated_parameters,
    load_base,
    save_grounded,
)
from selma.foundation.grounding_accuracy import (
    GUIDANCE_SCALE,
    INFERENCE_STEPS,
    box_iou,
    draw_grounded,
    measure,
    summarise,
)
from selma.foundation.tokenizer import build_tokenizer
from selma.pocket.captions import article
from selma.pocket.render import render
from selma.pocket.scenes import Scene, SceneObject


def scene_of(*objects, background="white"):
    return Scene(background, objects)


def truth_of(scene):
    return GroundedPicture(render(scene), "", scene, boxes_of(scene.objects))


RED = SceneObject("circle", "red", "large", 9.0, 10.0)
BLUE = SceneObject("star", "blue", "small", 25.0, 22.0)


@pytest.mark.parametrize("background", ["white", "gray", "black", "brown"])
def test_the_true_picture_has_every_object_in_its_box_in_its_shape(background):
    truth = truth_of(scene_of(RED, BLUE, background=background))
    iou, landed, colour, shape_iou = measure(truth.picture, truth)
    assert iou > 0.8 and landed == colour == 1
    assert shape_iou > 0.95


def test_each_error_is_seen_by_its_measure():
    truth = truth_of(scene_of(RED, BLUE))
    recoloured = SceneObject("circle", "green", "large", RED.x, RED.y)
    moved = SceneObject("circle", "red", "large", RED.x + 13, RED.y)
    square = SceneObject("square", "red", "large", RED.x, RED.y)
    found = {
        name: measure(render(scene_of(item, BLUE)), truth)
        for name, item in (("colour", recoloured), ("place", moved), ("shape", square))
    }
    right = measure(truth.picture, truth)
    np.testing.assert_allclose(found["colour"][1:3], [0.5, 0.5])  # one object of two is right
    np.testing.assert_allclose(found["place"][1:3], [0.5, 0.5])
    np.testing.assert_allclose(found["shape"][1:3], [1, 1])
    assert found["shape"][3] < right[3] - 0.05


def test_an_object_is_found_among_others_of_its_colour():
    twins = [SceneObject("circle", "red", "small", x, 8.0) for x in (7.0, 24.0)]
    truth = truth_of(scene_of(*twins))
    assert measure(truth.picture, truth)[1] == 1
    one = measure(render(scene_of(twins[0])), truth)
    assert one[1] == 0.5


def test_the_overlap_of_two_boxes_is_known():
    assert box_iou(np.array([0, 0, 0.5, 0.5]), np.array([0.25, 0, 0.75, 0.5])) == pytest.approx(
        1 / 3
    )
    assert box_iou(np.array([0, 0, 0.2, 0.2]), np.array([0.5, 0.5, 1, 1])) == 0


def test_gains_are_over_the_reference_on_the_same_pictures():
    low, high = np.full((40, 4), 0.25), np.full((40, 4), 0.75)
    found = summarise({"ungrounded": low, "all_steps": high}, "ungrounded")
    assert found["all_steps"]["n"] == 40
    expected = {
        "mean": 0.75,
        "low": 0.75,
        "high": 0.75,
        "gain": 0.5,
        "gain_low": 0.5,
        "gain_high": 0.5,
    }
    assert found["all_steps"]["landed"] == expected
    assert found["ungrounded"]["landed"] == {"mean": 0.25, "low": 0.25, "high": 0.25}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base model, and one with gated layers of chance."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = build_tokenizer(0)
    denoiser = Denoiser(build_text_encoder(tokenizer, 0), build_unet((32, 32), 0))
    save_pipeline(folder / "base", build_autoencoder(0), tokenizer, denoiser)
    unet = build_gated_unet(load_base(folder / "base").unet, 0)
    with torch.no_grad():
        for name, parameter in gated_parameters(unet).items():
            if name.endswith("weight") and not parameter.any():
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    save_grounded(folder / "gligen", folder / "base", unet)
    return folder


@pytest.fixture(scope="module")
def stock(folders):
    from diffusers import StableDiffusionGLIGENPipeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the class is no longer developed
        pipeline = StableDiffusionGLIGENPipeline.from_pretrained(
            folders / "gligen", safety_checker=None
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_stock_diffusers_loads_the_folder_and_draws_the_same_picture(folders, stock, share):
    truth = held_out_picture(0, 0)
    base = load_base(folders / "base")
    ours = draw_grounded([truth], base, stock.unet, share=share, seed=3)
    theirs = stock(
        truth.caption,
        gligen_phrases=[article(f"{o.colour} {o.shape}") for o in truth.scene.objects],
        gligen_boxes=truth.boxes.tolist(),
        gligen_scheduled_sampling_beta=share,
        guidance_scale=GUIDANCE_SCALE,
        num_inference_steps=INFERENCE_STEPS,
        generator=torch.Generator().manual_seed(derive_seed(3, "grounded", 0)),
        output_type="np",
    ).images
    np.testing.assert_allclose(ours, theirs * 255, atol=1.01)
    stock.enable_fuser(True)


def test_a_picture_does_not_depend_on_the_others(folders, stock):
    base = load_base(folders / "base")
    pictures = [held_out_picture(0, number) for number in range(3)]
    together = draw_grounded(pictures, base, stock.unet, share=1.0, seed=0)
    alone = draw_grounded(pictures[:1], base, stock.unet, share=1.0, seed=0)
    np.testing.assert_allclose(together[:1].astype(int), alone.astype(int), atol=1)


def test_grounding_changes_the_picture_and_none_is_bases_own(folders, stock):
    base = load_base(folders / "base")
    pictures = [held_out_picture(0, 0)]
    none, some, whole = (
        draw_grounded(pictures, base, stock.unet, share=share, seed=0) for share in (0, 0.4, 1)
    )
    own = draw_grounded(pictures, base, base.unet, share=0.0, seed=0)
    assert np.array_equal(none, own)
    assert not np.array_equal(none, some) and not np.array_equal(some, whole)
