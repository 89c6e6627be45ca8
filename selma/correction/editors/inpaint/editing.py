"""Carries out a plan by inpainting: holes, moved crops with their seams, objects, boxes."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from selma.core.choices import choose_name
from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed
from selma.correction.canvas import to_rgb
from selma.correction.editors.inpaint.filling import Filler, Wish
from selma.correction.editors.inpaint.pipelines import load_inpainting
from selma.correction.editors.inpaint.settings import InpaintSettings
from selma.correction.editors.prompts import negative_prompt, object_prompt
from selma.correction.geometry import (
    ALIGNMENTS,
    cells_of,
    move_cells,
    resize_for,
    resize_picture,
    transfer,
)
from selma.correction.layout import Box
from selma.correction.loop import Job
from selma.correction.masks import Mask, removal_mask, to_grid
from selma.correction.plan import Change
from selma.correction.segmenters.protocol import Segmenter

if TYPE_CHECKING:
    from PIL.Image import Image

FULL_STRENGTH = 1.0  # drawn from noise alone
SEAM_STRENGTH = 0.5  # so that both sides of a seam, each as it shall be, stay in sight


class InpaintEditor:
    """Edits a picture at its own size, one operation after the other.

    1. The places of removed objects and the old ones of moved objects, without what is kept, are
       filled with the background.
    2. Moved objects are pasted from the picture as it came, resized; the seam around each is
       inpainted with `SEAM_STRENGTH`.
    3. Objects whose attribute changes are inpainted with the settings' strength.
    4. Boxes of added objects are inpainted.

    All other pixels stay exactly as they are. Each operation's seed comes from its kind and name.
    """

    def __init__(self, settings: InpaintSettings, segmenter: Segmenter, filler: Filler) -> None:
        """Take what finds an object's pixels, and what redraws pixels."""
        self._settings, self._segmenter, self._filler = settings, segmenter, filler

    def edit(self, picture: "Image", job: Job) -> "Image":
        """Carry out a plan; RGB, of the picture's size."""
        return _Session(self._settings, self._segmenter, self._filler, to_rgb(picture), job).run()


def load_inpaint_editor(
    settings: InpaintSettings, segmenter: Segmenter, *, device: str
) -> InpaintEditor:
    """Load the editor's model.

    Errors as `load_inpainting`, and ConfigError for settings that no picture can be edited with.
    """
    _check(settings)
    loaded = load_inpainting(settings.path, settings.dtype, device, settings.adapter)
    filler = Filler(
        loaded.pipeline, loaded.canvas,
        inference_steps=settings.inference_steps,
        guidance_scale=settings.guidance_scale,
        feather_px=settings.feather_px,
    )  # fmt: skip
    return InpaintEditor(settings, segmenter, filler)


def _check(settings: InpaintSettings) -> None:
    choose_name("alignment", settings.alignment, ALIGNMENTS)
    if settings.dilation_px < 1 or settings.dilation_px % 2 == 0:
        raise ConfigError(f"dilation_px must be odd and at least 1, got {settings.dilation_px}")
    strength = settings.attribute_strength
    if not 0 < strength < 1:
        raise ConfigError(f"attribute_strength must be above 0 and below 1, got {strength}")
    needed = math.ceil(1 / min(strength, SEAM_STRENGTH))
    if settings.inference_steps < needed:
        raise ConfigError(
            f"inference_steps {settings.inference_steps} with attribute_strength {strength} leave "
            f"no step to take; use at least {needed} steps"
        )


@dataclass(frozen=True)
class _Session:
    """The edit of one picture."""

    settings: InpaintSettings
    segmenter: Segmenter
    filler: Filler
    picture: "Image"
    job: Job

    def run(self) -> "Image":
        plan, edited = self.job.plan, self.picture
        edited = self._remove(edited)
        for change in plan.move:
            edited = self._move(edited, change)
        strength = self.settings.attribute_strength
        for change in plan.attribute:
            (mask,) = self._masks([change.current.box])
            prompt = object_prompt(self.job.scene.background, change.goal.label)
            edited = self._fill(edited, mask, prompt, strength, "attribute", change.goal.name)
        for one in plan.add:
            prompt = object_prompt(self.job.scene.background, one.label)
            edited = self._fill(edited, self._box(one.box), prompt, FULL_STRENGTH, "add", one.name)
        return edited

    def _remove(self, edited: "Image") -> "Image":
        plan = self.job.plan
        gone = [*(one.box for one in plan.remove), *(one.current.box for one in plan.move)]
        kept = [one.current.box for one in (*plan.preserve, *plan.attribute)]
        hole = removal_mask(
            self._candidates(gone), self._candidates(kept),
            dilation_px=self._dilation_px, grid=self._grid,
        )  # fmt: skip
        return self._fill(edited, hole, self.job.scene.background, FULL_STRENGTH, "remove")

    def _move(self, edited: "Image", change: Change) -> "Image":
        old, new = change.current.box, change.goal.box
        width, height = self.picture.size
        way = resize_for(old, new, width=width, height=height)
        resized = resize_picture(self.picture, way)
        (found,) = self.segmenter.segment(resized, [way.box])
        own = to_grid(found.masks, dilation_px=1, grid=self._grid)
        route = transfer(way.box, new, self._grid, self.settings.alignment)
        pixels = np.asarray(resized).transpose(2, 0, 1)  # (3, height, width)
        moved, there = move_cells(pixels, own, route)
        pasted = np.where(there[..., None], moved.transpose(1, 2, 0), np.asarray(edited))
        prompt = object_prompt(self.job.scene.background, change.goal.label)
        return self._fill(
            _picture(pasted), self._seam(there), prompt, SEAM_STRENGTH, "move", change.goal.name
        )  # fmt: skip

    def _fill(
        self, edited: "Image", mask: Mask, prompt: str, strength: float, *names: str
    ) -> "Image":
        unwanted = negative_prompt(self.job.scene.negation, self.settings.negative_prompt)
        seed = derive_seed(self.job.seed, "inpaint", *names)
        return self.filler.fill(edited, mask, Wish(prompt, unwanted, strength, seed))

    def _seam(self, pasted: Mask) -> Mask:
        """Both sides of a pasted object's edge."""
        outer, outside = (
            to_grid(one[None], dilation_px=self._dilation_px, grid=self._grid)
            for one in (pasted, ~pasted)
        )
        return outer & outside

    def _masks(self, boxes: list[Box]) -> list[Mask]:
        return [
            to_grid(one, dilation_px=self._dilation_px, grid=self._grid)
            for one in self._candidates(boxes)
        ]

    def _candidates(self, boxes: list[Box]) -> list[Mask]:
        return [one.masks for one in self.segmenter.segment(self.picture, boxes)]

    def _box(self, box: Box) -> Mask:
        mask = np.zeros(self._grid, dtype=bool)
        mask[cells_of(box, self._grid).slices] = True
        return mask

    @property
    def _grid(self) -> tuple[int, int]:
        return self.picture.height, self.picture.width

    @property
    def _dilation_px(self) -> int:
        """The setting in pixels of the picture, an odd number."""
        radius = (self.settings.dilation_px - 1) / 2 * self.filler.scale(self.picture)
        return 2 * round(radius) + 1


def _picture(pixels: np.ndarray) -> "Image":
    from PIL import Image

    return Image.fromarray(pixels.astype(np.uint8))
