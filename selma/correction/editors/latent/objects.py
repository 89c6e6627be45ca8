"""Added objects: each is drawn on its own, on the picture's background; LMD+, SLD 4.6."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from selma.correction.editors.latent.denoising import Wish
from selma.correction.editors.latent.guidance import Reference
from selma.correction.editors.latent.prompts import object_prompt
from selma.correction.editors.latent.stacks import draw
from selma.correction.editors.latent.studio import Layer, Studio, region
from selma.correction.editors.prompts import negative_prompt
from selma.correction.geometry import cells_of
from selma.correction.layout import Box, Named
from selma.correction.masks import Mask, choose_candidate
from selma.correction.scene import Scene
from selma.correction.segmenters.protocol import Candidates
from selma.correction.words import with_article
from selma.diffusion.attention import watched
from selma.diffusion.tokens import Span, tokens_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Drawn:
    """An object that was drawn on its own, and how its word was looked at meanwhile."""

    layer: Layer
    reference: Reference


def draw_object(one: Named, scene: Scene, background: "Tensor", studio: Studio) -> Drawn:
    """Draw an object into its box, from the background's noise with some of its own.

    Args:
        one: what and where.
        scene: its background and negation.
        background: the stack without what is removed, (T + 1, C, h, w).
        studio: the parts.
    """
    settings, levels = studio.settings, studio.levels
    prompt = object_prompt(scene.background, one)
    wish = Wish(
        prompt.text,
        negative_prompt(scene.negation, settings.object_negative_prompt),
        settings.object_guidance,
        [region(with_article(one.label.text), one.box)],
    )
    word = word_of(studio, prompt.text, prompt.phrases[0].noun)
    reference: list[dict[str, Tensor]] = []
    guided_steps = len(settings.attention.iterations)

    with watched(studio.backbone.denoiser, studio.attention_layers) as maps:

        def note(latents: "Tensor", step: int) -> "Tensor":
            if word is not None and step < guided_steps:
                reference.append({name: one[-1, :, :, word] for name, one in maps.items()})
            return latents

        start = _start(one, background[:1], studio)
        stack = draw(start, studio.guide(wish, grounded=True), levels, after=note)
    (found,) = studio.segment(studio.decode(stack[-1:]), [one.box])
    return Drawn(Layer(object_mask(found, one.box, studio.grid), stack), reference)


def word_of(studio: Studio, text: str, noun: Span) -> int | None:
    """The last token of a noun in a prompt; None if the prompt is cut before it."""
    (tokens,) = tokens_of(studio.backbone.encoders[0].tokenizer, text, [noun])
    return tokens[-1] if tokens else None


def _start(one: Named, background: "Tensor", studio: Studio) -> "Tensor":
    """Freshen the cells of its box, rounded."""
    import torch

    rows, columns = studio.grid
    left, right = (round(value * columns) for value in (one.box.x, one.box.right))
    top, bottom = (round(value * rows) for value in (one.box.y, one.box.bottom))
    inside = torch.zeros(rows, columns, dtype=torch.bool, device=background.device)
    inside[top:bottom, left:right] = True
    share = studio.settings.foreground_blend
    return studio.freshen(background, inside, share, "object", one.name)


def object_mask(found: Candidates, box: Box, grid: tuple[int, int]) -> Mask:
    """Choose the mask of a drawn object on the latent grid; its box, if nothing was found in it."""
    import torch
    from torch.nn.functional import interpolate

    masks = torch.from_numpy(found.masks.astype(np.float32))[None]  # (1, k, H, W)
    small = interpolate(masks, size=grid, mode="bilinear", align_corners=False)[0].numpy() > 0
    chosen: Mask = small[choose_candidate(small, found.confidences, box)]
    if not chosen.any():
        chosen = np.zeros(grid, dtype=bool)
        chosen[cells_of(box, grid).slices] = True
    return chosen
