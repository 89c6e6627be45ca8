"""The pocket detector: its pictures, its lesson, its files and how it is measured."""

import random

import numpy as np
import pytest
import torch
from transformers import Owlv2ForObjectDetection

from selma.core.seeds import derive_seed
from selma.correction.detections import Detection, Thresholds
from selma.correction.detectors.loading import load_detector
from selma.correction.detectors.owlv2 import Owlv2
from selma.correction.detectors.protocol import RawBox
from selma.correction.layout import Box
from selma.correction.scene import Label
from selma.foundation.autoencoder import build_autoencoder
from selma.foundation.detector_model import (
    PATCHES,
    build_detector,
    build_image_processor,
    save_detector,
)
from selma.foundation.detector_pictures import (
    box_of,
    build_detector_set,
    draw_objects,
    kept_detector_set,
)
from selma.foundation.detector_scores import asked_about, matches, measure, rendered_scenes
from selma.foundation.detector_training import (
    PLAIN,
    SIZED,
    Query,
    assign,
    detector_lesson,
    forward,
    generalised_iou,
    labelling_loss,
)
from selma.foundation.tokenizer import build_tokenizer
from selma.pocket.render import coverage
from selma.pocket.scenes import CANVAS_PX, COLOURS, SHAPES


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(0)


@pytest.fixture(scope="module")
def autoencoder():
    return build_autoencoder(0).eval()


@pytest.fixture(scope="module")
def drawn(autoencoder):
    return build_detector_set(autoencoder, 12, 3, lambda done: None)


@pytest.fixture(scope="module")
def model(tokenizer):
    return build_detector(tokenizer, 1).eval()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_box_holds_what_its_object_covers_and_no_more(shape):
    x, y, width, height = (CANVAS_PX * value for value in box_of(shape, 6.3, 15.2, 16.7))
    rows, columns = np.nonzero(coverage(shape, 6.3, 15.2, 16.7, CANVAS_PX))
    for low, high, near, far in (
        (x - width / 2, x + width / 2, columns.min(), columns.max() + 1),
        (y - height / 2, y + height / 2, rows.min(), rows.max() + 1),
    ):
        assert near - 0.3 <= low <= near + 1.3 and far - 1.3 <= high <= far + 0.3


def test_the_pictures_depend_on_their_numbers_alone(autoencoder, drawn):
    fewer = build_detector_set(autoencoder, 5, 3, lambda done: None)
    assert (fewer.kinds == drawn.kinds[:5]).all() and (fewer.boxes == drawn.boxes[:5]).all()
    assert ((drawn.kinds[..., 0] >= 0) == (drawn.boxes[..., 2] > 0)).all()
    assert drawn.pictures.std() > 20 and 0 < drawn.boxes.max() < 1


def test_kept_pictures_are_not_drawn_again(drawn, tmp_path):
    first = kept_detector_set(tmp_path / "set.npz", lambda: drawn)
    again = kept_detector_set(tmp_path / "set.npz", lambda: pytest.fail("drawn again"))
    assert (first.pictures == drawn.pictures).all() and (again.boxes == drawn.boxes).all()


def test_objects_are_on_the_canvas_and_apart_but_for_some_pictures():
    rng = random.Random(0)
    pictures = [draw_objects(rng) for _ in range(200)]
    touching = 0
    for objects in pictures:
        for n, one in enumerate(objects):
            assert one.radius_px <= min(one.x, one.y) and max(one.x, one.y) <= 32 - one.radius_px
            touching += any(
                np.hypot(one.x - two.x, one.y - two.y) < one.radius_px + two.radius_px
                for two in objects[:n]
            )
    assert {len(objects) for objects in pictures} == set(range(7)) and 10 < touching < 100


def test_the_queries_are_in_the_words_of_the_correction():
    assert len(PLAIN) == 8 + 64 and len(SIZED) == 4 * 72
    assert PLAIN[0].text == "image of a circle"
    assert Query("circle", "orange", None).text == "image of an orange circle"
    assert Query("star", "red", "little").text == "image of a little red star"
    assert Query("star", None, "little").kind == Query("star", None, "small").kind == (4, -1, 0)


def test_a_patch_near_the_centre_of_an_object_is_that_objects():
    kinds = np.array([[[0, 5, 1], [-1, -1, -1]]], np.int8)  # a large blue circle
    boxes = np.array([[[18 / 32, 10 / 32, 0.4, 0.4], [0.5, 0.5, 0, 0]]], np.float32)
    queries = [Query("circle", None, None), Query("circle", "blue", "big")]
    queries += [Query("circle", "red", None), Query("star", "blue", None)]
    targets = assign(kinds, boxes, np.array([query.kind for query in queries], np.int8))
    own = targets.own[0].reshape(PATCHES, PATCHES)
    # Patches are 4 px wide; their centres at 18 ± 3 and 10 ± 3 px are 18 alone and 10 alone.
    assert (own == 0).nonzero().tolist() == [[2, 4]]
    assert targets.fits[0, 2 * 8 + 4].tolist() == [1, 1, 0, 0]
    assert targets.fits.sum() == 2
    names = targets.names[0].reshape(PATCHES, PATCHES, 2)
    inside = (names[..., 0] == 1).nonzero().tolist()  # centres within 6.4 px: 12.4 … 24.4 px
    assert inside == [[row, column] for row in (1, 2, 3) for column in (3, 4, 5)]
    assert names[2, 4].tolist() == [1, 6] and names[0, 0].tolist() == [0, 0]


def test_generalised_iou_of_boxes_apart_and_of_one_in_another():
    one = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]])
    other = torch.tensor([[2.5, 0.5, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    expected = torch.tensor([0 - (3 - 2) / 3, 0.25])
    torch.testing.assert_close(generalised_iou(one, other), expected)


def test_labelling_is_the_cross_entropy_of_shape_and_of_colour():
    logits = torch.zeros(1, 2, 18)
    logits[0, 0, 3] = 50.0  # the first patch is sure of shape 3
    names = torch.tensor([[[3, 0], [0, 8]]])
    nine = np.log(9)
    assert float(labelling_loss(logits, names)) == pytest.approx(nine / 2 + nine, abs=1e-5)


def test_the_lessons_forward_pass_is_the_models_own(model, tokenizer, drawn):
    pixels = torch.from_numpy(drawn.pictures[:3]).permute(0, 3, 1, 2).float() / 127.5 - 1
    ids = torch.tensor([tokenizer(query.text)["input_ids"] for query in PLAIN[:8]])
    with torch.inference_mode():
        _, logits, objectness, boxes = forward(model, pixels, ids)
        own = model(pixel_values=pixels, input_ids=ids.repeat(3, 1))
    torch.testing.assert_close(logits, own.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(objectness, own.objectness_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(boxes, own.pred_boxes, rtol=1e-4, atol=1e-4)


def test_a_steps_loss_depends_on_its_number_alone_and_reaches_all_weights(tokenizer, drawn):
    model = build_detector(tokenizer, 1)
    loss_at, parameters = detector_lesson(model, tokenizer, drawn, batch_size=4, seed=2)
    loss_at(0)
    loss = loss_at(3)
    loss.backward()
    assert [name for name, value in parameters.items() if value.grad is None] == []
    again, _ = detector_lesson(build_detector(tokenizer, 1), tokenizer, drawn, 4, 2)
    assert float(again(3).detach()) == float(loss.detach())


def test_the_saved_detector_is_loaded_by_stock_classes_and_sees_the_same(
    model, tokenizer, drawn, tmp_path
):
    from PIL import Image

    save_detector(model, tokenizer, tmp_path / "detector")
    path = tmp_path / "detector"
    assert (path / "model.safetensors").stat().st_size < 2_000_000
    stock = Owlv2ForObjectDetection.from_pretrained(path)
    assert stock.dtype == torch.float32
    pictures = [Image.fromarray(picture) for picture in drawn.pictures[:3]]
    queries = [["image of a red circle", "image of a star"]] * 3
    loaded = load_detector("owlv2", path, dtype="float32", device="cpu", batch_size=2)
    in_memory = Owlv2(model, tokenizer, build_image_processor(), 3)
    found, expected = (one.detect(pictures, queries) for one in (loaded, in_memory))
    assert [len(one) for one in found] == [len(one) for one in expected] and found[0]
    scores = [[[box.score for box in own] for own in both] for both in (found, expected)]
    np.testing.assert_allclose(np.concatenate(scores[0]), np.concatenate(scores[1]), atol=2e-4)


def see(label, box, score=0.9):
    return Detection(label, box, score)


def test_each_object_is_matched_once_by_a_box_of_its_label_at_an_iou_of_a_half():
    red, blue = Label("red", "star"), Label("blue", "star")
    place, half, beside = Box(0, 0, 0.2, 0.2), Box(0, 0, 0.2, 0.1), Box(0.5, 0.5, 0.2, 0.2)
    assert matches([see(red, place)], [(red, place)]) == 1
    assert matches([see(red, half)], [(red, place)]) == 1  # IoU 0.5
    assert matches([see(red, Box(0, 0, 0.2, 0.09))], [(red, place)]) == 0
    assert matches([see(blue, place)], [(red, place)]) == 0
    assert matches([see(red, place), see(red, half, 0.8)], [(red, place)]) == 1
    assert matches([see(red, half), see(red, place, 0.8)], [(red, place), (red, beside)]) == 1


class Knowing:
    """Sees the truth, but for every second picture's first object, and a red circle everywhere."""

    def __init__(self, truths):
        self.truths = truths

    def detect(self, pictures, queries):
        found = []
        for n, own in enumerate(queries):
            texts = {text: place for place, text in enumerate(own)}
            seen = [
                RawBox(texts[text], box, 0.9)
                for label, box in self.truths[n][n % 2 :]
                for text in texts
                if text.endswith((f" {label.text}", f" a {label.noun}", f" an {label.noun}"))
            ]
            found.append(seen)
        return found


def test_precision_and_recall_are_counted_over_all_boxes():
    held_out = rendered_scenes(20, 5)
    rates = measure(Knowing(held_out.truths), held_out, Thresholds(0.5, 0.5, 0.9))
    there = sum(map(len, held_out.truths))
    for kind in ("attribute", "primitive"):
        assert rates[kind]["precision"].accuracy == 1.0
        assert rates[kind]["precision"].n == there - 10
        assert rates[kind]["recall"].accuracy == pytest.approx((there - 10) / there)


def test_the_detector_is_asked_for_what_is_there_and_for_two_labels_that_are_not():
    labels = [Label("red", "circle"), Label("blue", "star"), Label("red", "circle")]
    asked = set(asked_about(labels, random.Random(derive_seed(0, "x"))).attributed)
    assert set(labels) <= asked and len(asked) == 4
    for absent in asked - set(labels):
        assert any(
            (absent.noun == one.noun) != (absent.attribute == one.attribute) for one in labels
        )
    assert {one.attribute for one in asked} <= set(COLOURS)


def test_nothing_there_leaves_no_division_by_nothing():
    held_out = rendered_scenes(2, 5)
    rates = measure(Knowing([[], []]), held_out, Thresholds(0.5, 0.5, 0.5))
    assert rates["attribute"]["precision"].n == 0 and rates["attribute"]["recall"].accuracy == 0
