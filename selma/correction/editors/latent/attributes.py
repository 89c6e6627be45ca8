"""Changed attributes: an object is redrawn inside its mask, from the picture's own noise."""

from typing import TYPE_CHECKING

from selma.correction.editors.latent.denoising import Wish
from selma.correction.editors.latent.settings import LatentSettings
from selma.correction.editors.latent.stacks import draw
from selma.correction.editors.latent.studio import Layer, Studio, region
from selma.correction.editors.prompts import negative_prompt
from selma.correction.plan import Change
from selma.correction.scene import Scene
from selma.correction.words import with_article

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


def first_redrawn(settings: LatentSettings) -> int:
    """The step from which on an object is redrawn."""
    return settings.inference_steps - int(settings.inference_steps * settings.attribute_strength)


def change_attribute(
    change: Change, scene: Scene, picture: "Image", source: "Tensor", studio: Studio
) -> Layer:
    """Redraw an object as its goal says; DiffEdit's decoding, arXiv 2210.11427, section 3.

    Departs from SLD 4.5, whose Stable Diffusion 2.1 is no longer published: the edit is made by
    the gated model itself, which is told of the object's box, on the picture's own stack. So the
    result is a stack already, and need not be decoded and inverted. The noise to which a picture
    of flat colours is inverted is far from normal and may hold the old object fast: some can be
    mixed in.

    Args:
        change: what it is and what it shall be.
        scene: its negation.
        picture: on the canvas.
        source: the picture's stack, (T + 1, C, h, w).
        studio: the parts.
    """
    import torch

    settings, levels = studio.settings, studio.levels
    (found,) = studio.segment(picture, [change.goal.box])
    mask = studio.to_grid(found)
    inside = torch.from_numpy(mask).to(source.device)
    phrase = with_article(change.goal.label.text)
    negative = negative_prompt(scene.negation, settings.negative_prompt)
    wish = Wish(phrase, negative, settings.attribute_guidance, [region(phrase, change.goal.box)])
    first = first_redrawn(settings)

    def keep_outside(latents: "Tensor", step: int) -> "Tensor":
        return torch.where(inside, latents, source[step + 1])

    start = studio.freshen(
        source[first : first + 1], inside, settings.attribute_blend, "attribute", change.goal.name
    )
    guide = studio.guide(wish, grounded=True)
    edited = draw(start, guide, levels, first_step=first, after=keep_outside)
    return Layer(mask, torch.cat([source[:first], edited]))
