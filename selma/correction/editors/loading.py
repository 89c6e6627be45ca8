"""Loads an editor by the kind of its settings."""

from collections.abc import Callable

from selma.correction.editors.inpaint.editing import load_inpaint_editor
from selma.correction.editors.inpaint.settings import InpaintSettings
from selma.correction.editors.latent.editor import load_latent_editor
from selma.correction.editors.latent.settings import LatentSettings
from selma.correction.editors.protocol import Editor
from selma.correction.segmenters.protocol import Segmenter

EDITORS: dict[type, Callable[..., Editor]] = {
    LatentSettings: load_latent_editor,
    InpaintSettings: load_inpaint_editor,
}


def load_editor(
    settings: LatentSettings | InpaintSettings, segmenter: Segmenter, *, device: str
) -> Editor:
    """Load an editor's models; which one, its settings' type says.

    Args:
        settings: of one of `EDITORS`.
        segmenter: finds an object's pixels in its box.
        device: of all of the editor's models.

    Raises:
        MissingDataError: a model's folder is not there.
        BackendError: a model is not of the kind that the editor needs.
    """
    return EDITORS[type(settings)](settings, segmenter, device=device)
