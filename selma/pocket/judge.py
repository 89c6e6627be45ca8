"""Answers questions about a picture from its pixels alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selma.core.errors import RecordError
from selma.pocket.questions import UNKNOWN, answer_query, parse_question
from selma.pocket.scenes import CANVAS_PX, SceneObject
from selma.pocket.segments import SIZE_LIMIT_PX, Fit, Segmentation, fit_shapes, segment

# Set on renders, blurred, noisy and autoencoded renders, and drawn defects (bench/judge.py); never
# on pictures that a generative model made.
CONFIDENCE_LIMIT = 0.90  # worn renders score ≥ 0.93, most blobs and halves below 0.88
MARGIN_LIMIT = 0.01  # between the best shape's score and the runner-up's
SOFTNESS_LIMIT = 1.35  # blur of 0.6 px and noise reach 1.25, most smears lie above 1.5


@dataclass(frozen=True)
class Detected(SceneObject):
    """An object the judge is sure of, confidence in [0, 1]; of several colours: "unknown"."""

    confidence: float


@dataclass(frozen=True)
class Detection:
    """What the judge sees in a picture."""

    background: str  # a name in ``BACKGROUNDS`` or "unknown"
    objects: tuple[Detected, ...]  # from left to right
    leftovers: (
        int  # parts that are no shape, or have no colour, of this world; no question's object
    )


def detect_all(pictures: Sequence[NDArray[np.uint8]]) -> list[Detection]:
    """Say what is in each picture, (CANVAS_PX, CANVAS_PX, 3), uint8.

    A piece is an object only if its colour is near a palette colour, one shape fits it well
    (``CONFIDENCE_LIMIT``) and better than all others (``MARGIN_LIMIT``), and its border is not
    smeared (``SOFTNESS_LIMIT``). RecordError if a picture has another form.
    """
    for picture in pictures:
        if picture.shape != (CANVAS_PX, CANVAS_PX, 3) or picture.dtype != np.uint8:
            raise RecordError(
                f"the pocket judge got a picture of shape {picture.shape} and type {picture.dtype},"
                f" expected ({CANVAS_PX}, {CANVAS_PX}, 3) uint8; give it the pocket world's"
            )
    segmentations = [segment(picture) for picture in pictures]
    fits = iter(fit_shapes([piece for found in segmentations for piece in found.pieces]))
    return [_detection(found, [next(fits) for _ in found.pieces]) for found in segmentations]


def _detection(found: Segmentation, fits: Sequence[Fit]) -> Detection:
    recognised: dict[tuple[int, ...], Detected] = {}
    areas = {piece.parts: piece.area_px for piece in found.pieces}
    for piece, fit in zip(found.pieces, fits, strict=True):
        if item := _recognise(fit):
            recognised.setdefault(piece.parts, item)
    objects, taken = [], set[int]()
    for parts in sorted(recognised, key=lambda parts: (-areas[parts], parts)):
        several = len(parts) > 1 and all((part,) in recognised for part in parts)
        if not several and taken.isdisjoint(parts):
            objects.append(recognised[parts])
            taken.update(parts)
    return Detection(
        found.background or UNKNOWN,
        tuple(sorted(objects, key=lambda item: (item.x, item.y))),
        sum(len(parts) == 1 for parts in areas) - len(taken),
    )


def _recognise(fit: Fit) -> Detected | None:
    fits = fit.score >= CONFIDENCE_LIMIT and fit.score - fit.runner_up >= MARGIN_LIMIT
    if fit.colour is None or not fits or fit.softness > SOFTNESS_LIMIT:
        return None
    size = "small" if fit.radius_px < SIZE_LIMIT_PX else "large"
    return Detected(fit.shape, fit.colour, size, fit.x, fit.y, fit.score)


def answer_questions(
    pictures: Sequence[NDArray[np.uint8]], questions: Sequence[Sequence[tuple[str, Sequence[str]]]]
) -> list[list[str]]:
    """Answer pairs (question, choices) about each picture, which is looked at once.

    Raises as `detect_all` and `parse_question`.
    """
    return [
        [
            answer_query(parse_question(question), choices, seen.background, seen.objects)
            for question, choices in asked
        ]
        for seen, asked in zip(detect_all(pictures), questions, strict=True)
    ]
