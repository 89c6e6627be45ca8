"""The figure of a correction: what is seen in a picture, and what it shall have, side by side."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from selma.correction.layout import Layout

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIZE = (900, 500)  # pixels, as the published code's
MARGIN, TITLE, FONT = 10, 40, 15
COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17768a")


def draw_figure(picture: "Image", current: Layout, goal: Layout) -> "Image":
    """Draw the boxes of a picture on it, and those of the suggested layout on white beside it.

    Args:
        picture: RGB, of any size.
        current: what is seen in it.
        goal: what was suggested; empty if nothing was.
    """
    from PIL import Image, ImageDraw, ImageFont
    from PIL.Image import Resampling

    width, height = SIZE[0] // 2 - 2 * MARGIN, SIZE[1] - TITLE - MARGIN
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    way = Resampling.NEAREST if scale > 2 else Resampling.LANCZOS
    figure = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(figure)
    draw.font = ImageFont.load_default(FONT)
    colors = _colors([current, goal])
    panels = [("seen", picture.resize(size, way), current),
              ("suggested", Image.new("RGB", size, "white"), goal)]  # fmt: skip
    for number, (title, ground, layout) in enumerate(panels):
        left = number * SIZE[0] // 2 + MARGIN + (width - size[0]) // 2
        top = TITLE + (height - size[1]) // 2
        figure.paste(ground, (left, top))
        frame = (left - 1, top - 1, left + size[0], top + size[1])
        draw.rectangle(frame, outline="#888888")
        words = f"{title}: {len(layout)} object{'' if len(layout) == 1 else 's'}"
        draw.text((left, MARGIN), words, fill="black")
        _boxes(draw, layout, colors, (left, top), size)
    return figure


def _colors(layouts: Iterable[Layout]) -> dict[str, str]:
    """Give each noun a color, the same in both halves."""
    nouns = dict.fromkeys(one.label.noun for layout in layouts for one in layout)
    return {noun: COLORS[place % len(COLORS)] for place, noun in enumerate(nouns)}


def _boxes(
    draw: "ImageDraw", layout: Layout, colors: dict[str, str], corner: Sequence[int],
    size: Sequence[int],
) -> None:  # fmt: skip
    for one in layout:
        left, top = corner[0] + one.box.x * size[0], corner[1] + one.box.y * size[1]
        right, bottom = corner[0] + one.box.right * size[0], corner[1] + one.box.bottom * size[1]
        color = colors[one.label.noun]
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color,
                       width=3)  # fmt: skip
        place = (left + 4, top + 3)
        draw.rectangle(draw.textbbox(place, one.name), fill="white")
        draw.text(place, one.name, fill=color)
