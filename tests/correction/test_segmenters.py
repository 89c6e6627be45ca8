"""The segmenters give what the stock classes compute, and those without a model the truth."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_vision import SQUARE, picture
from transformers import Sam2Model, SamModel, SamProcessor

from selma.correction.layout import Box
from selma.correction.segmenters.loading import load_segmenter
from selma.foundation.autoencoder import uniform_scene
from selma.foundation.detector_pictures import box_of
from selma.pocket.render import object_shares, render
from selma.pocket.scenes import RADII_PX

BOXES = [Box(0.1, 0.1, 0.5, 0.5), Box(0.3, 0.2, 0.4, 0.7), Box(0, 0, 1, 1)]
WIDE = picture(0, 40, 24)


def load(kind, path=None):
    return load_segmenter(kind, path, dtype="float32", device="cpu")


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_three_candidates_for_each_box_whatever_the_others_are(kind, tiny_folder):
    segmenter = load(kind, tiny_folder(kind))
    together = segmenter.segment(WIDE, BOXES)
    for box, found in zip(BOXES, together, strict=True):
        (single,) = segmenter.segment(WIDE, [box])
        assert found.masks.shape == (3, 24, 40) and found.masks.dtype == bool
        assert (found.masks == single.masks).mean() > 0.999
        np.testing.assert_allclose(found.confidences, single.confidences, atol=1e-5)
    assert (together[0].masks != together[1].masks).any()
    assert segmenter.segment(WIDE, []) == []


def test_sam_gives_what_the_stock_processor_and_model_give(tiny_folder):
    model = SamModel.from_pretrained(tiny_folder("sam")).eval()
    processor = SamProcessor.from_pretrained(tiny_folder("sam"))
    inputs = processor(WIDE, input_boxes=[[[12.0, 4.8, 28.0, 21.6]]], return_tensors="pt")
    sizes = inputs["original_sizes"], inputs.pop("reshaped_input_sizes")
    with torch.inference_mode():
        outputs = model(
            pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float()
        )
    (masks,) = processor.image_processor.post_process_masks(outputs.pred_masks, *sizes)
    (found,) = load("sam", tiny_folder("sam")).segment(WIDE, [BOXES[1]])
    assert (found.masks == masks[0].numpy()).all() and found.masks.any()
    np.testing.assert_allclose(found.confidences, outputs.iou_scores[0, 0].numpy(), atol=1e-5)


def test_sam2_gives_what_the_stock_model_gives_for_the_picture_as_a_square(tiny_folder):
    model = Sam2Model.from_pretrained(tiny_folder("sam2")).eval()
    values = np.asarray(WIDE.resize((64, 64), Image.Resampling.BILINEAR)) / 255
    values = (values - SQUARE["image_mean"]) / SQUARE["image_std"]
    pixels = torch.from_numpy(values).float().permute(2, 0, 1)[None]
    corners = torch.tensor([[[0.3 * 64, 0.2 * 64, 0.7 * 64, 0.9 * 64]]])
    with torch.inference_mode():
        outputs = model(pixel_values=pixels, input_boxes=corners)
        logits = torch.nn.functional.interpolate(outputs.pred_masks[0], (24, 40), mode="bilinear")
    (found,) = load("sam2", tiny_folder("sam2")).segment(WIDE, [BOXES[1]])
    assert (found.masks == (logits[0] > 0).numpy()).mean() > 0.999 and found.masks.any()
    np.testing.assert_allclose(found.confidences, outputs.iou_scores[0, 0].numpy(), atol=1e-5)


def test_sam2_is_read_from_the_published_video_model_too(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder("sam2"), tmp_path / "video")
    path = tmp_path / "video/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "sam2_video"}))
    (found,) = load("sam2", tmp_path / "video").segment(WIDE, BOXES[:1])
    (expected,) = load("sam2", tiny_folder("sam2")).segment(WIDE, BOXES[:1])
    assert (found.masks == expected.masks).all()


def test_the_box_itself_is_the_pixels_whose_centres_it_holds():
    found = load("box").segment(WIDE, [Box(0.05, 0.25, 0.1, 0.5), Box(0.5, 0.5, 0.001, 0.001)])
    rows, columns = np.nonzero(found[0].masks[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 17, 2, 5)
    assert found[0].masks.sum() == 12 * 4 and found[0].confidences.tolist() == [1.0]
    assert found[1].masks.sum() == 1  # never nothing


def test_contrast_finds_what_an_object_covers_by_half_or_more():
    rng = random.Random(0)
    wrong = doubtful = 0
    for _ in range(25):
        scene = uniform_scene(rng)
        boxes = []
        for one in scene.objects:
            x, y, width, height = box_of(one.shape, RADII_PX[one.size], one.x, one.y)
            boxes.append(Box(x - width / 2, y - height / 2, width, height))
        found = load("contrast").segment(Image.fromarray(render(scene)), boxes)
        for share, box, seen in zip(object_shares(scene), boxes, found, strict=True):
            mask, inside = seen.masks[0], load("box").segment(WIDE, [box])
            truth = (share >= 0.5) & load("box").segment(Image.new("RGB", (32, 32)), [box])[
                0
            ].masks[0]
            doubtful += int((np.abs(share - 0.5) < 0.1).sum())
            wrong += int((mask != truth)[np.abs(share - 0.5) >= 0.1].sum())
            assert inside[0].masks.any()
    assert wrong == 0 and doubtful > 0


def test_contrast_without_contrast_or_surroundings_is_the_box():
    plain = Image.new("RGB", (20, 10), (90, 90, 90))
    for box in (Box(0.2, 0.2, 0.4, 0.4), Box(0, 0, 1, 1)):
        (found,), (whole,) = (load(kind).segment(plain, [box]) for kind in ("contrast", "box"))
        assert (found.masks == whole.masks).all()
