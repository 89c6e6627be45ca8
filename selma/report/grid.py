"""A picture for the README: a few prompts, drawn by the reference and by the subject."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from selma.core.errors import RecordError
from selma.report.examples import Example, Picture
from selma.report.numbers import plain

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

SIDE_PX = 128  # of a picture
GAP_PX = 16
LEFT_PX = 72  # column of the models' names
TEXT_LINES = 7
LINE_PX = 15
FONT_PX = 12
INK, SOFT, PAGE, EDGE = (27, 31, 36), (93, 102, 114), (255, 255, 255), (225, 229, 234)


def render_grid(examples: Sequence[Example], models: Sequence[str]) -> bytes:
    """Draw a column for each of some examples: its prompt, then each model's picture and score.

    Returns a PNG without metadata; RecordError if a picture is not a PNG.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=FONT_PX)
    head = GAP_PX + TEXT_LINES * LINE_PX + 8
    row = SIDE_PX + LINE_PX + GAP_PX
    size = (LEFT_PX + len(examples) * (SIDE_PX + GAP_PX), head + len(models) * row)
    grid = Image.new("RGB", size, PAGE)
    draw = ImageDraw.Draw(grid)
    for index, name in enumerate(models):
        while draw.textlength(name, font=font) > LEFT_PX - GAP_PX - 2:
            name = name.removesuffix("…")[:-1] + "…"
        draw.text((GAP_PX, head + index * row + SIDE_PX // 2 - 7), name, fill=INK, font=font)
    for column, example in enumerate(examples):
        x = LEFT_PX + column * (SIDE_PX + GAP_PX)
        lines = wrap(example.prompt, draw, font, SIDE_PX, TEXT_LINES)
        top = head - 8 - len(lines) * LINE_PX
        for number, line in enumerate(lines):
            draw.text((x, top + number * LINE_PX), line, fill=INK, font=font)
        for index, picture in enumerate(example.pictures):
            y = head + index * row
            grid.paste(_square(picture.png), (x, y))
            draw.rectangle((x - 1, y - 1, x + SIDE_PX, y + SIDE_PX), outline=EDGE)
            draw.text((x, y + SIDE_PX + 3), _note(picture), fill=SOFT, font=font)
    return as_png(grid)


def as_png(image: "Image.Image") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


def open_png(png: bytes) -> "Image.Image":
    """Decode a sample's picture as RGB; RecordError if it is not a whole PNG."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise RecordError(f"a sample's picture is not a whole PNG ({error})") from error


def _square(png: bytes) -> "Image.Image":
    from PIL import Image

    image = open_png(png)
    enlarge = max(image.size) < SIDE_PX
    method = Image.Resampling.NEAREST if enlarge else Image.Resampling.LANCZOS
    return image.resize((SIDE_PX, SIDE_PX), method)


def _note(picture: Picture) -> str:
    right, asked = sum(verdict.counted for verdict in picture.verdicts), len(picture.verdicts)
    return f"{right} of {asked} right" if asked else plain(picture.score, 3)


def wrap(
    text: str, draw: "ImageDraw.ImageDraw", font: "Font", width_px: int, max_lines: int
) -> list[str]:
    """Break a text into lines, a too wide word alone; what is too long ends in three dots."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and draw.textlength(longer, font=font) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) <= max_lines:
        return lines
    last = lines[max_lines - 1]
    while draw.textlength(last + "...", font=font) > width_px and " " in last:
        last = last.rsplit(" ", 1)[0]
    return [*lines[: max_lines - 1], last + "..."]
