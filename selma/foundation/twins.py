"""What the preference scorers are pre-trained on: twins, pictures that differ in one fact."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.foundation.defects import DEGRADED, paint
from selma.foundation.flaws import Draft, add_flaw
from selma.foundation.preference_pairs import (
    FACT_DRAWS,
    MILD_SEVERITY,
    Advance,
    draw_prompt,
    draw_scenes,
)
from selma.pocket.render import object_shares
from selma.pocket.scenes import CANVAS_PX, SHAPES, Scene
from selma.pocket.skills import is_held_out, write_prompt

PATCH_PX, PATCH_COVERED = 4, 0.15  # a patch shows an object that covers this share of it


@dataclass(frozen=True)
class TwinSet:
    """2N captioned pictures; 2k and 2k + 1 differ in one fact."""

    captions: tuple[str, ...]  # 2N
    pictures: NDArray[np.uint8]  # (2N, CANVAS_PX, CANVAS_PX, 3)
    patch_shapes: NDArray[np.uint8]  # (2N, 8, 8) place in ``SHAPES`` plus 1; 0: the patch has none


def build_twin_set(
    seed: int, scorer: str, twins: int, refused: frozenset[str], advance: Advance
) -> TwinSet:
    """Draw and paint `twins` pairs of captioned pictures that differ in one fact.

    A quarter of them are mildly blurred, muddy or noisy, both alike.
    """
    captions: list[str] = []
    pictures, shapes = [], []
    for index in range(twins):
        rng = random.Random(derive_seed(seed, "twins", scorer, index))
        for caption, draft, scene in _twins(rng, refused):
            captions.append(caption)
            pictures.append(paint(scene, draft.defects, rng.randrange(2**32)))
            shapes.append(patch_shapes(scene))
        advance(1)
    return TwinSet(tuple(captions), np.stack(pictures), np.stack(shapes))


def patch_shapes(scene: Scene) -> NDArray[np.uint8]:
    """Label each patch of a scene by its shape, as in ``TwinSet.patch_shapes``, (8, 8)."""
    side = CANVAS_PX // PATCH_PX
    shares = np.stack(object_shares(scene)).reshape(-1, side, PATCH_PX, side, PATCH_PX)
    covered = shares.mean(axis=(2, 4))  # (objects, 8, 8)
    names = np.array([SHAPES.index(item.shape) + 1 for item in scene.objects], np.uint8)
    return np.where(covered.max(axis=0) >= PATCH_COVERED, names[covered.argmax(axis=0)], 0).astype(
        np.uint8
    )


def _twins(rng: random.Random, refused: frozenset[str]) -> Iterator[tuple[str, Draft, Scene]]:
    while True:
        skill, _, description = draw_prompt(rng, refused)
        first = Draft(description)
        if rng.random() < 0.25:
            kind = rng.choice(sorted(DEGRADED))
            first = add_flaw(first, kind, rng, severity=MILD_SEVERITY) or first
        fact = rng.choice(FACT_DRAWS)
        second = add_flaw(first, fact, rng, severity=MILD_SEVERITY)
        # A spatial caption names two groups and a link: no more and no fewer.
        style = "paragraph" if skill == "spatial" and fact in ("extra", "missing") else skill
        if second is None:
            continue
        wording = rng.randrange(2**32)
        drafts = (first, second)
        captions = [write_prompt(style, d.description, random.Random(wording)) for d in drafts]
        scenes = draw_scenes(drafts, rng)
        if scenes is None or any(is_held_out(c) or c.lower() in refused for c in captions):
            continue
        yield from zip(captions, drafts, scenes, strict=True)
        return
