"""Looks for a scene's objects in pictures, as SLD does: with their attributes, then without."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from selma.correction.detections import Detection, Thresholds, postprocess, queries
from selma.correction.detectors.protocol import Detector
from selma.correction.scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image


def look_for(
    detector: Detector,
    pictures: "Sequence[Image]",
    scenes: Sequence[Scene],
    thresholds: Thresholds,
) -> list[list[Detection]]:
    """Look for each picture's scene in it; SLD, arXiv 2311.16090.

    Labels with an attribute and bare nouns are asked for in two passes, so that they do not
    compete for a box. Of each picture, detections by label in the order of `queries`, then by
    falling score.
    """
    texts = [queries(scene) for scene in scenes]
    found: list[list[Detection]] = [[] for _ in scenes]
    for with_attribute in (True, False):
        labels = [[one for one in own if bool(one.attribute) is with_attribute] for own in texts]
        asked = [[own[one] for one in some] for own, some in zip(texts, labels, strict=True)]
        for place, raw in enumerate(detector.detect(pictures, asked)):
            seen = [
                Detection(labels[place][one.query], one.box, one.score)
                for one in sorted(raw, key=lambda one: one.query)
            ]
            found[place] += postprocess(seen, thresholds)
    return found
