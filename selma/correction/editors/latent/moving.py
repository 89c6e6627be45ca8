"""Moved objects: the whole picture is resized and inverted, and the object's cells are copied."""

from typing import TYPE_CHECKING

from selma.correction.editors.latent.studio import Layer, Studio
from selma.correction.geometry import move_cells, resize_for, resize_picture, transfer
from selma.correction.layout import clamp
from selma.correction.plan import Change

if TYPE_CHECKING:
    from PIL.Image import Image


def move_object(change: Change, picture: "Image", studio: Studio) -> Layer:
    """Bring an object to its new place in its new size; SLD 4.4.

    Args:
        change: where it is and where it shall be.
        picture: on the canvas.
        studio: the parts.
    """
    import torch

    old, new = change.current.box, change.goal.box
    way = resize_for(old, new, width=picture.width, height=picture.height)
    resized = resize_picture(picture, way)
    (found,) = studio.segment(resized, [clamp(way.box) or way.box])
    stack = studio.invert(resized, "move", change.goal.name)
    where = transfer(way.box, new, studio.grid, studio.settings.alignment)
    moved, mask = move_cells(stack.cpu().numpy(), studio.to_grid(found), where)
    return Layer(mask, torch.from_numpy(moved).to(stack.device))
