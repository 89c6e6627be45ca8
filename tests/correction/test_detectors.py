"""The detectors give what the stock classes compute, in any batch and for pictures of any shape."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_vision import SQUARE, picture
from transformers import (
    GroundingDinoForObjectDetection,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    Sam3Model,
)

from selma.correction.detecting import look_for
from selma.correction.detections import Thresholds
from selma.correction.detectors.grounding_dino import Text, _boxes_of
from selma.correction.detectors.loading import load_detector
from selma.correction.detectors.protocol import LOWEST_SCORE, RawBox
from selma.correction.detectors.sam3 import noun_phrase
from selma.correction.layout import Box
from selma.correction.scene import make_scene

PICTURES = [picture(0), picture(1, 64, 32), picture(2, 64, 32), picture(3, 30, 50), picture(4)]
QUERIES = [
    ["image of a red circle", "image of a dog", "image of an apple", "image of a cat"],
    ["image of a cat"],
    ["image of a blue square", "image of a palm tree"],
    [],
    ["image of a star", "image of a dog"],
]


def load(folder, kind, batch_size=4):
    return load_detector(kind, folder(kind), dtype="float32", device="cpu", batch_size=batch_size)


def close(one, other):
    assert [b.query for b in one] == [b.query for b in other]
    for a, b in zip(one, other, strict=True):
        assert a.score == pytest.approx(b.score, abs=2e-4)
        assert a.box.values() == pytest.approx(b.box.values(), abs=1e-5)


@pytest.mark.parametrize("kind", ["grounding_dino", "owlv2", "sam3"])
def test_what_is_seen_does_not_depend_on_the_batch(kind, tiny_folder):
    together = load(tiny_folder, kind).detect(PICTURES, QUERIES)
    detector = load(tiny_folder, kind, batch_size=1)
    for place, (one, queries) in enumerate(zip(PICTURES, QUERIES, strict=True)):
        close(together[place], detector.detect([one], [queries])[0])
        assert all(0 <= box.query < len(queries) for box in together[place])
        assert all(box.score >= LOWEST_SCORE for box in together[place])
        scores = [box.score for box in together[place]]
        assert scores == sorted(scores, reverse=True)
    assert together[3] == [] and all(together[n] for n in (0, 1, 2, 4))


def pixel_rows(boxes, size):
    """Sorted rows of query, left, top, right, bottom in pixels, score."""
    width, height = size
    return sorted(
        [
            one.query,
            *(one.box.x * width, one.box.y * height),
            *(one.box.right * width, one.box.bottom * height),
            one.score,
        ]
        for one in boxes
    )


def test_owlv2_gives_what_the_stock_processor_gives_for_a_picture_that_is_not_square(tiny_folder):
    wide, texts = PICTURES[1], QUERIES[0]
    model = Owlv2ForObjectDetection.from_pretrained(tiny_folder("owlv2")).eval()
    processor = Owlv2Processor.from_pretrained(tiny_folder("owlv2"))
    inputs = processor(text=[texts], images=wide, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    (stock,) = processor.post_process_grounded_object_detection(
        outputs, threshold=LOWEST_SCORE, target_sizes=[(wide.height, wide.width)]
    )
    stock = torch.cat([stock["labels"][:, None], stock["boxes"], stock["scores"][:, None]], dim=1)
    own = pixel_rows(load(tiny_folder, "owlv2").detect([wide], [texts])[0], wide.size)
    np.testing.assert_allclose(own, sorted(stock.tolist()), atol=1e-3)


def test_owlv2s_boxes_lie_on_its_grid_of_patches_over_the_padded_square(tiny_folder):
    """With an idle box head a box's centre is its patch's lower right corner, as the bias says."""
    detector = load(tiny_folder, "owlv2")
    torch.nn.init.zeros_(detector.model.box_head.dense2.weight)
    torch.nn.init.zeros_(detector.model.box_head.dense2.bias)
    (found,) = detector.detect([PICTURES[1]], [QUERIES[1]])  # 64 × 32 pixels, 4 × 4 patches
    centres = sorted(
        (round(64 * one.box.centre[0]), round(32 * one.box.centre[1])) for one in found
    )
    corners = [(x, y) for x in (16, 32, 48, 64) for y in (16, 32, 48, 64)]
    assert centres == corners  # y beyond 32 lies in the padding
    assert {round(64 * one.box.width) for one in found} == {16}


def test_owlv2_cuts_a_query_that_is_too_long(tiny_folder):
    long = "image of a " + "very " * 40 + "red circle"
    assert load(tiny_folder, "owlv2").detect([PICTURES[0]], [[long, "image of a dog"]])[0]


def test_grounding_dino_reads_the_text_that_its_processor_makes(tiny_folder):
    detector = load(tiny_folder, "grounding_dino")
    (text,) = detector._texts(["image of a Red circle", "image of a dog."])
    stock = detector.tokenizer("a red circle. a dog.")["input_ids"]
    assert text.ids == stock
    words = detector.tokenizer.convert_ids_to_tokens
    phrases = {place: words(text.ids[own]) for place, own in text.phrases.items()}
    assert phrases == {0: ["a", "red", "circle"], 1: ["a", "dog"]}


def test_grounding_dinos_scores_are_those_of_the_stock_model(tiny_folder):
    detector, wide, texts = load(tiny_folder, "grounding_dino"), PICTURES[1], QUERIES[0][:2]
    model = GroundingDinoForObjectDetection.from_pretrained(tiny_folder("grounding_dino")).eval()
    tokens = detector.tokenizer("a red circle. a dog.", return_tensors="pt")
    pixels = detector.image_processor(wide, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**pixels, **tokens)
    scores = outputs.logits[0].sigmoid()  # tokens: [CLS] a red circle . a dog . [SEP]
    best = torch.stack([scores[:, 1:4].amax(1), scores[:, 5:7].amax(1)], dim=1).max(dim=1)
    x, y, width, height = outputs.pred_boxes[0].unbind(1)
    stock = torch.stack(
        [best.indices, 64 * (x - width / 2), 32 * (y - height / 2)]
        + [64 * (x + width / 2), 32 * (y + height / 2), best.values],
        dim=1,
    )
    own = pixel_rows(detector.detect([wide], [texts])[0], wide.size)
    kept = [row for row in stock.tolist() if row[-1] >= LOWEST_SCORE]
    np.testing.assert_allclose(own, sorted(kept), atol=2e-3)


def test_grounding_dinos_box_belongs_to_the_phrase_with_the_best_token():
    low = -9.0
    logits = torch.tensor([[low, 0.0, 2.0, low, 1.0], [9.0, -1.0, low, low, 3.0]])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.25, 0.75, 0.1, 0.1]])
    found = _boxes_of(logits, boxes, Text([], {4: slice(1, 3), 7: slice(4, 5)}))
    assert [one.query for one in found] == [4, 7]  # the token at 0 is of no phrase
    assert found[0].score == pytest.approx(0.8808, abs=1e-4)  # sigmoid of 2
    assert found[1].score == pytest.approx(0.9526, abs=1e-4)  # of 3
    assert found[0].box.values() == pytest.approx([0.4, 0.3, 0.2, 0.4])


def test_grounding_dino_asks_in_several_passes_what_one_text_cannot_hold(tiny_folder):
    detector = load(tiny_folder, "grounding_dino")
    queries = [f"image of a {word}" for word in ("red circle", "dog", "cat", "star") * 5]
    texts = list(detector._texts(queries))
    assert [place for text in texts for place in text.phrases] == list(range(20))
    assert all(len(text.ids) <= 16 for text in texts) and len(texts) > 1
    (found,) = detector.detect([PICTURES[0]], [queries])
    assert len(found) == 12 * len(texts)  # each pass has 12 boxes
    long = "image of a " + "red " * 40 + "dog"
    assert detector.detect([PICTURES[0]], [[long, "image of a ..."]])[0]


def test_sam3_gives_what_the_stock_model_gives(tiny_folder):
    detector, tall, texts = load(tiny_folder, "sam3"), PICTURES[3], QUERIES[0]
    model = Sam3Model.from_pretrained(tiny_folder("sam3")).eval()
    phrases = ["red circle", "dog", "apple", "cat"]
    tokens = detector.tokenizer(phrases, padding="max_length", max_length=16, return_tensors="pt")
    values = np.asarray(tall.resize((56, 56), Image.Resampling.BILINEAR)) / 255
    values = (values - SQUARE["image_mean"]) / SQUARE["image_std"]
    pixels = torch.from_numpy(values).float().permute(2, 0, 1).expand(4, -1, -1, -1)
    with torch.inference_mode():
        outputs = model(pixel_values=pixels, **tokens)
    scores = outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid()  # (4, 6)
    corners = outputs.pred_boxes * torch.tensor([30.0, 50.0, 30.0, 50.0])
    stock = [
        [query, *box, score]
        for query in range(4)
        for box, score in zip(corners[query].tolist(), scores[query].tolist(), strict=True)
        if score >= LOWEST_SCORE
    ]
    own = pixel_rows(detector.detect([tall], [texts])[0], tall.size)
    np.testing.assert_allclose(own, sorted(stock), atol=2e-3)


@pytest.mark.parametrize(
    ("query", "phrase"),
    [
        ("image of a red circle", "red circle"),
        ("image of an apple", "apple"),
        ("image of shadows", "shadows"),
        ("image of a", "a"),
    ],
)
def test_sam3_is_asked_for_the_noun_phrase(query, phrase):
    assert noun_phrase(query) == phrase


def test_sam3_is_read_from_the_published_video_model_too(tiny_folder, tmp_path):
    own = tiny_folder("sam3")
    shutil.copytree(own, tmp_path / "video")
    config = json.loads((own / "config.json").read_text())
    whole = {"model_type": "sam3_video", "detector_config": config}
    (tmp_path / "video/config.json").write_text(json.dumps(whole))
    tensors = load_file(own / "model.safetensors")
    tensors = {f"detector_model.{name}": tensor for name, tensor in tensors.items()}
    tensors["tracker_model.x"] = torch.zeros(1)
    save_file(tensors, tmp_path / "video/model.safetensors", metadata={"format": "pt"})
    options = {"dtype": "float32", "device": "cpu", "batch_size": 2}
    video = load_detector("sam3", tmp_path / "video", **options)
    expected = load(tiny_folder, "sam3").detect(PICTURES[:1], QUERIES[:1])
    assert video.detect(PICTURES[:1], QUERIES[:1]) == expected


class Shown:
    """A detector that sees what it is told, and keeps what it was asked."""

    def __init__(self, seen):
        self.seen, self.asked = seen, []

    def detect(self, pictures, queries):
        self.asked.append([list(own) for own in queries])
        return [
            [RawBox(own.index(text), box, score) for text, box, score in self.seen if text in own]
            for own in queries
        ]


def test_a_scene_is_looked_for_in_two_passes_and_named_by_label():
    left, right = Box(0.1, 0.1, 0.2, 0.2), Box(0.6, 0.1, 0.2, 0.2)
    detector = Shown(
        [
            ("image of a dog", left, 0.9),
            ("image of a black dog", right, 0.5),
            ("image of a dog", right, 0.3),
            ("image of a cat", left, 0.95),
            ("image of a dog", Box(0.1, 0.1, 0.2, 0.19), 0.8),  # the first one again
        ]
    )
    scenes = [
        make_scene([("cat", [None]), ("dog", ["black", None])], "", ""),
        make_scene([("dog", ["black"])], "", ""),
    ]
    found = look_for(detector, PICTURES[:2], scenes, Thresholds(0.5, 0.25, 0.5))
    assert detector.asked == [
        [["image of a black dog"], ["image of a black dog"]],
        [["image of a cat", "image of a dog"], ["image of a dog"]],
    ]
    seen = [[(one.label.text, one.box, one.score) for one in own] for own in found]
    dogs = [("dog", left, 0.9), ("dog", right, 0.3)]
    assert seen[0] == [("black dog", right, 0.5), ("cat", left, 0.95), *dogs]
    assert seen[1] == [("black dog", right, 0.5), *dogs]
    (higher,) = look_for(detector, PICTURES[:1], scenes[1:], Thresholds(0.51, 0.31, 0.5))
    assert [one.label.text for one in higher] == ["dog"]
