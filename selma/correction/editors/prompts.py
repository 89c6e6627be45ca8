"""What an editor tells its model to draw, and not to draw."""

from selma.correction.scene import Label
from selma.correction.words import with_article


def object_prompt(background: str, *labels: Label) -> str:
    """Ask for objects on a background: "A beach with a red kite, an owl"."""
    return f"{background} with {', '.join(with_article(label.text) for label in labels)}"


def negative_prompt(*parts: str) -> str:
    """Join what must not be drawn; empty parts are left out."""
    return ", ".join(part for part in parts if part)
