"""The face of an editor."""

from typing import TYPE_CHECKING, Protocol

from selma.correction.loop import Job

if TYPE_CHECKING:
    from PIL.Image import Image


class Editor(Protocol):
    """Carries out the operations of a plan."""

    def edit(self, picture: "Image", job: Job) -> "Image":
        """Edit a picture of any size; the result is RGB and of the same size."""
        ...
