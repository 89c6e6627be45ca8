"""The pictures that gated layers learn from: each object with its box and phrases that name it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.foundation.pictures import CaptionNoise, caption_of, draw_scene
from selma.pocket.captions import SIZE_WORDS, Description, article, realise
from selma.pocket.render import corners_of, render
from selma.pocket.scenes import COLOURS, RADII_PX, SHAPES, Scene, SceneObject, Thing
from selma.pocket.skills import is_held_out

Boxes = NDArray[np.float32]
_SIZES = (None, *(word for words in SIZE_WORDS.values() for word in words))
_COLOURS = (None, *COLOURS)


@dataclass(frozen=True)
class GroundedPicture:
    """A picture, a caption, and each object's box."""

    picture: NDArray[np.uint8]  # (CANVAS_PX, CANVAS_PX, 3)
    caption: str
    scene: Scene
    boxes: Boxes  # (objects, 4): left, top, right, bottom as fractions of the picture


def phrases() -> list[str]:
    """List all phrases for one object: with or without size word and colour.

    Number (s · colours + c) · shapes + k, where s and c count from "not said", is the phrase of
    size word s, colour c and shape k: "a circle", …, "a red circle", …, "a big pink ring".
    """
    return [
        article(" ".join(filter(None, (size, colour, shape))))
        for size in _SIZES
        for colour in _COLOURS
        for shape in SHAPES
    ]


def phrase_numbers(thing: Thing) -> list[int]:
    """Number the phrases that name an object: four with its colour, then four without it.

    Of each four the first two say no size, so that an even draw says it half the time.
    """
    said = [0, 0, *(_SIZES.index(word) for word in SIZE_WORDS[thing.size])]
    shape = SHAPES.index(thing.shape)
    return [
        (size * len(_COLOURS) + colour) * len(SHAPES) + shape
        for colour in (_COLOURS.index(thing.colour), 0)
        for size in said
    ]


def grounded_picture(
    seed: int, index: int, noise: CaptionNoise, single_objects: float
) -> GroundedPicture:
    """Make the training picture with a number; its caption is none held out for the benchmarks.

    A share `single_objects` of the pictures show one object; the rest are as base's pictures.
    """
    rng = random.Random(derive_seed(seed, "grounded-picture", index))
    kind, truth, scene = draw_scene(rng)
    if rng.random() < single_objects:
        truth = Description((replace(truth.groups[0], count=1),), (), truth.background)
        alone = realise(truth, rng)
        assert alone is not None  # one object has room
        scene = alone
    caption = caption_of(kind, truth, noise, rng)
    while is_held_out(caption):
        caption = caption_of(kind, truth, noise, rng)
    return GroundedPicture(render(scene), caption, scene, boxes_of(scene.objects))


def held_out_picture(seed: int, index: int) -> GroundedPicture:
    """Make a picture to measure on: its caption is true and was held out of every training."""
    rng = random.Random(derive_seed(seed, "held-out-grounded-picture", index))
    caption, scene = "", None
    while scene is None or not is_held_out(caption):
        kind, truth, scene = draw_scene(rng)
        caption = caption_of(kind, truth, CaptionNoise(0, 0), rng)
    return GroundedPicture(render(scene), caption, scene, boxes_of(scene.objects))


def boxes_of(objects: Sequence[SceneObject]) -> Boxes:
    """Compute all boxes, (objects, 4)."""
    corners = [corners_of(o.shape, RADII_PX[o.size], o.x, o.y) for o in objects]
    return np.stack(corners).astype(np.float32)
