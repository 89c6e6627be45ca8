"""What the tests of the inpainting editor share: settings and jobs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from selma.correction.editors.inpaint.settings import InpaintSettings
from selma.correction.layout import Box, Layout, Named
from selma.correction.loop import Job
from selma.correction.plan import plan
from selma.correction.scene import Label, make_scene

OLD, NEW, OTHER = (
    Box(0.0, 0.5, 0.25, 0.25), Box(0.5, 0.0, 0.25, 0.25), Box(0.75, 0.75, 0.25, 0.25),
)  # fmt: skip
DOG, CAT = Named(Label(None, "dog"), 1, OLD), Named(Label(None, "cat"), 1, OTHER)
RED_DOG, MOVED_DOG = Named(Label("red", "dog"), 1, OLD), Named(Label(None, "dog"), 1, NEW)
OWL = Named(Label(None, "owl"), 1, NEW)
# What each operation leads from and to; the cat is kept.
JOBS: dict[str, tuple[Layout, Layout]] = {
    "remove": ((DOG, CAT), (CAT,)),
    "add": ((CAT,), (CAT, OWL)),
    "move": ((DOG, CAT), (MOVED_DOG, CAT)),
    "attribute": ((DOG, CAT), (RED_DOG, CAT)),
}


def inside(size: tuple[int, int], *boxes: Box, by: int = 0) -> np.ndarray:
    """The pixels of boxes, each larger by some pixels on all sides, (height, width)."""
    mask = np.zeros((size[1], size[0]), dtype=bool)
    for box in boxes:
        left, top = int(box.x * size[0]) - by, int(box.y * size[1]) - by
        right, bottom = int(box.right * size[0]) + by, int(box.bottom * size[1]) + by
        mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    return mask


def settings(path: Path, **changes) -> InpaintSettings:
    return replace(
        InpaintSettings(
            path=str(path), dtype="float32", adapter=None, inference_steps=2, guidance_scale=3.0,
            attribute_strength=0.5, dilation_px=3, feather_px=0, negative_prompt="blurry",
            alignment="centre",
        ),
        **changes,
    )  # fmt: skip


def job(current: Layout, goal: Layout, seed: int = 1) -> Job:
    scene = make_scene([("dog", [None]), ("cat", [None])], "A field", "")
    return Job(scene, current, goal, plan(current, goal), seed)


def noise_picture(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    shape = (size[1], size[0], 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)
