"""Measures the pocket detector: precision and recall on pictures it has not seen."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.correction.detecting import look_for
from selma.correction.detections import Detection, Thresholds
from selma.correction.detectors.protocol import Detector
from selma.correction.layout import Box, iou
from selma.correction.scene import Label, Scene, make_scene
from selma.foundation.autoencoder import uniform_scene
from selma.foundation.detector_pictures import box_of
from selma.foundation.scorers import Accuracy, wilson
from selma.pocket.render import render
from selma.pocket.scenes import COLOURS, RADII_PX, SHAPES

MATCH_IOU = 0.5
Truth = tuple[Label, Box]  # of an object: colour and shape, and where it is


@dataclass(frozen=True)
class HeldOut:
    """Pictures, what each shows, and what the detector is asked: all that, and absent labels."""

    pictures: NDArray[np.uint8]  # (N, H, W, 3)
    truths: Sequence[Sequence[Truth]]
    scenes: Sequence[Scene]


def rendered_scenes(number: int, seed: int) -> HeldOut:
    """Render scenes that no training picture is drawn from."""
    pictures, truths, scenes = [], [], []
    for n in range(number):
        rng = random.Random(derive_seed(seed, "detector-held-out", n))
        scene = uniform_scene(rng)
        pictures.append(render(scene))
        truth = [
            (Label(o.colour, o.shape), _box(box_of(o.shape, RADII_PX[o.size], o.x, o.y)))
            for o in scene.objects
        ]
        truths.append(truth)
        scenes.append(asked_about([label for label, _ in truth], rng))
    return HeldOut(np.stack(pictures), truths, scenes)


def asked_about(labels: Sequence[Label], rng: random.Random) -> Scene:
    """Ask for what is there, and for two labels that are not: one fact apart from one that is."""
    own = sorted(set(labels), key=lambda label: label.sort_key)
    near = rng.choice(own) if own else Label(rng.choice(list(COLOURS)), rng.choice(SHAPES))
    other_colours = [Label(colour, near.noun) for colour in COLOURS]
    other_shapes = [Label(near.attribute, shape) for shape in SHAPES]
    absent = [
        rng.choice([label for label in twins if label not in own])
        for twins in (other_colours, other_shapes)
    ]
    entries = [(label.noun, [label.attribute]) for label in (*own, *absent)]
    return make_scene(entries, "", "")


def _box(values: Iterable[float]) -> Box:
    x, y, width, height = map(float, values)
    return Box(x - width / 2, y - height / 2, width, height)


def measure(
    detector: Detector, held_out: HeldOut, thresholds: Thresholds
) -> dict[str, dict[str, Accuracy]]:
    """Compare what is detected with the truth, at `MATCH_IOU`.

    Returns precision and recall of "attribute" (labels with a colour) and "primitive" (bare nouns),
    each over all boxes, with Wilson's 95 % interval.
    """
    from PIL import Image

    pictures = [Image.fromarray(picture) for picture in held_out.pictures]
    found = look_for(detector, pictures, held_out.scenes, thresholds)
    kinds: dict[str, Callable[[Label], bool]] = {
        "attribute": lambda label: bool(label.attribute),
        "primitive": lambda label: not label.attribute,
    }
    return {
        kind: _rates(
            [[one for one in seen if belongs(one.label)] for seen in found],
            [
                [
                    (label if kind == "attribute" else Label(None, label.noun), box)
                    for label, box in own
                ]
                for own in held_out.truths
            ],
        )
        for kind, belongs in kinds.items()
    }


def _rates(
    found: Sequence[Sequence[Detection]], truths: Sequence[Sequence[Truth]]
) -> dict[str, Accuracy]:
    hits = sum(matches(seen, truth) for seen, truth in zip(found, truths, strict=True))
    seen, there = sum(map(len, found)), sum(map(len, truths))
    return {"precision": _share(hits, seen), "recall": _share(hits, there)}


def _share(hits: int, n: int) -> Accuracy:
    return wilson(hits, n) if n else Accuracy(0, 0.0, 0.0, 1.0)  # of nothing nothing is known


def matches(found: Sequence[Detection], truths: Sequence[Truth]) -> int:
    """Count the detections that are true: of the label, at `MATCH_IOU`, each object once."""
    left = list(truths)
    for one in sorted(found, key=lambda one: one.rank_key):
        places = [n for n, (label, box) in enumerate(left) if label == one.label]
        best = max(places, key=lambda n: iou(left[n][1], one.box), default=None)
        if best is not None and iou(left[best][1], one.box) >= MATCH_IOU:
            del left[best]
    return len(truths) - len(left)
