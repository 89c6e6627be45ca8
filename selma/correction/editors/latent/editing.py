"""One edit: removal, objects, composition, and the final run under the whole prompt."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from selma.correction.editors.latent.attributes import change_attribute
from selma.correction.editors.latent.composing import compose
from selma.correction.editors.latent.denoising import Guide, Wish
from selma.correction.editors.latent.finishing import finish
from selma.correction.editors.latent.guidance import AttentionGuide, Target
from selma.correction.editors.latent.moving import move_object
from selma.correction.editors.latent.objects import Drawn, draw_object
from selma.correction.editors.latent.prompts import Prompt, scene_prompt
from selma.correction.editors.latent.stacks import Adjust, unchanged
from selma.correction.editors.latent.studio import Studio, region
from selma.correction.editors.prompts import negative_prompt
from selma.correction.layout import Named
from selma.correction.loop import Job
from selma.correction.masks import Mask, removal_mask
from selma.correction.words import with_article
from selma.diffusion.gated import SLOTS, Region
from selma.diffusion.tokens import tokens_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

logger = logging.getLogger(__name__)


def edit(picture: "Image", job: Job, studio: Studio) -> tuple["Image", str]:
    """Carry out a plan that is not empty.

    Where something is added, moved or changed, the final prompt names all of the goal's objects;
    where things are only removed, it is the background's, and the model is told of no boxes.

    Args:
        picture: RGB, of the canvas's size.
        job: with boxes in fractions of the canvas.
        studio: the parts.

    Returns:
        The edited canvas, and the final prompt.
    """
    import torch

    plan, scene, settings = job.plan, job.scene, studio.settings
    with torch.no_grad():
        source = studio.invert(picture, "picture")
        removal = find_removal(picture, job, studio)
        background = without(source, removal, studio)
        drawn = {one.name: draw_object(one, scene, background, studio) for one in plan.add}
        layers = [one.layer for one in drawn.values()]
        layers += [move_object(change, picture, studio) for change in plan.move]
        layers += [
            change_attribute(change, scene, picture, source, studio) for change in plan.attribute
        ]
        prompt = scene_prompt(scene.background, job.goal if layers else (), plan.add)
        negative = negative_prompt(scene.negation, settings.negative_prompt)
        regions = told_regions(job) if layers else []
        wish = Wish(prompt.text, negative, settings.final_guidance, regions)
        guide = studio.guide(wish, grounded=True)
        hole = studio.noise("hole")
        clean = finish(
            compose(layers, background, removal, hole), guide, studio.levels,
            hole=hole, frozen_share=settings.frozen_share,
            before=_attention_guide(prompt, drawn, guide, studio),
        )  # fmt: skip
        return studio.decode(clean), prompt.text


def find_removal(picture: "Image", job: Job, studio: Studio) -> Mask:
    """Say which cells become background: removed objects and old places of moved ones."""
    plan = job.plan
    gone = [*(one.box for one in plan.remove), *(one.current.box for one in plan.move)]
    kept = [one.current.box for one in plan.preserve] if studio.settings.keep_preserved else []
    removed, preserved = (
        [found.masks for found in studio.segment(picture, boxes)] for boxes in (gone, kept)
    )
    return removal_mask(
        removed, preserved, dilation_px=studio.settings.dilation_px, grid=studio.grid
    )


def without(source: "Tensor", removal: Mask, studio: Studio) -> "Tensor":
    """Put noise at every level where things are removed: what objects are drawn on."""
    import torch

    noise = studio.noise("background", count=len(source))
    return torch.where(torch.from_numpy(removal).to(source.device), noise, source)


def told_regions(job: Job) -> list[Region]:
    """What the gated model is told: all of the goal, or the first that fit, edited ones first."""
    kept = {change.goal.name for change in job.plan.preserve}
    ranked = sorted(job.goal, key=lambda one: one.name in kept)
    if len(ranked) > SLOTS:
        names = ", ".join(one.name for one in ranked[SLOTS:])
        logger.warning("the model can be told of %d boxes; not told of: %s", SLOTS, names)
        ranked = ranked[:SLOTS]
    return [region(with_article(one.label.text), one.box) for one in ranked]


def _attention_guide(
    prompt: Prompt, drawn: dict[str, Drawn], guide: Guide, studio: Studio
) -> Adjust:
    targets = find_targets(prompt, drawn, studio)
    if not targets:
        return unchanged
    return AttentionGuide(
        guide, studio.levels, targets, studio.settings.attention, studio.attention_layers,
        studio.backbone.denoiser,
    )  # fmt: skip


def find_targets(prompt: Prompt, drawn: dict[str, Drawn], studio: Studio) -> list[Target]:
    """Say what attention is guided to; phrases that the prompt's cut leaves out are not."""
    tokenizer = studio.backbone.encoders[0].tokenizer
    spans = [span for phrase in prompt.phrases for span in (phrase.whole, phrase.noun)]
    found = iter(tokens_of(tokenizer, prompt.text, spans))
    targets, cut = list[Target](), list[Named]()
    for phrase, tokens, noun in zip(prompt.phrases, found, found, strict=True):
        references = [drawn[one.name].reference for one in phrase.objects]
        if not noun or not all(references):
            cut += phrase.objects
            continue
        boxes = tuple(one.box for one in phrase.objects)
        targets.append(Target(tokens, noun[-1], boxes, tuple(references)))
    _warn(prompt, cut, studio)
    return targets


def _warn(prompt: Prompt, cut: Sequence[Named], studio: Studio) -> None:
    if studio.backbone.count_truncated([prompt.text]):
        names = ", ".join(one.name for one in cut) or "none"
        logger.warning(
            "the final prompt is longer than the model reads, and is cut; added objects that "
            "attention is therefore not guided to: %s", names,
        )  # fmt: skip
