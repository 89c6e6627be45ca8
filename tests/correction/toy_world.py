"""Pictures of plain squares in which a detector, an editor and an LLM know all, or fail."""

import re
from pathlib import Path

import numpy as np
from llm_options import options
from PIL import Image

from selma.core.errors import BackendError
from selma.correction.correcting import Task, Tools, Way
from selma.correction.detections import Thresholds
from selma.correction.detectors.protocol import RawBox
from selma.correction.layout import Box
from selma.correction.lmd import Vocabulary
from selma.correction.loop import Options
from selma.correction.replies import ReplyLimits
from selma.llm.generators import RecordedLlm
from selma.llm.transcript import Reply, Transcript

SIDE_PX = 40
CELL_PX = 10  # one square in each cell of a 4×4 grid at most
COLORS = {"red": (200, 0, 0), "blue": (0, 0, 200), "green": (0, 160, 0)}
WORDS = Vocabulary("A picture", ("square", "disc"), tuple(COLORS), (1, 2, 3))
THRESHOLDS = Thresholds(0.5, 0.5, 0.5)
WAY = Way("correct", Options(2, True, 0.7, 0.5), ReplyLimits(8, 2000), 1, 1)


def picture(*squares, size=(SIDE_PX, SIDE_PX)):
    """Draw squares given as (color, column, row)."""
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    for color, column, row in squares:
        x, y = column * CELL_PX, row * CELL_PX
        pixels[y : y + CELL_PX, x : x + CELL_PX] = COLORS[color]
    return Image.fromarray(pixels)


def squares_of(image):
    """Read the squares of a picture, as they were given."""
    pixels = np.asarray(image)
    names = {value: name for name, value in COLORS.items()}
    return {
        (names[tuple(map(int, pixels[y, x]))], x // CELL_PX, y // CELL_PX)
        for y in range(CELL_PX // 2, pixels.shape[0], CELL_PX)
        for x in range(CELL_PX // 2, pixels.shape[1], CELL_PX)
        if tuple(map(int, pixels[y, x])) in names
    }


def box_of(image, column, row):
    return Box(*(CELL_PX * v / s for v, s in zip((column, row, 1, 1), image.size * 2, strict=True)))


class SeesAll:
    """A detector that finds squares by their pixels; `calls` are the numbers of pictures."""

    def __init__(self, broken=()):
        self.calls, self._broken = [], [one.tobytes() for one in broken]

    def detect(self, pictures, queries):
        self.calls.append(len(pictures))
        if any(one.tobytes() in self._broken for one in pictures):
            raise BackendError("the detector choked")
        return [list(self._look(*pair)) for pair in zip(pictures, queries, strict=True)]

    def _look(self, image, asked):
        for number, query in enumerate(asked):
            words = query.split()
            for color, column, row in sorted(squares_of(image)):
                if words[-1] == "square" and words[-2] in (color, "a"):
                    yield RawBox(number, box_of(image, column, row), 0.9)


class Paints:
    """An editor that paints the goal with what it does not know in green, or does nothing."""

    def __init__(self, broken=()):
        self._broken = set(broken)

    def edit(self, image, job):
        if job.seed in self._broken or job.scene.background in self._broken:
            raise BackendError("the editor choked")
        if "carelessly" in job.scene.background:
            return image.copy()
        made = picture(size=image.size)
        for one in job.goal:
            x, y = (round(v * s) for v, s in zip((one.box.x, one.box.y), image.size, strict=True))
            left = COLORS[one.label.attribute or self._seen(image, one) or "green"]
            made.paste(left, (x, y, x + CELL_PX, y + CELL_PX))
        return made

    def _seen(self, image, one):
        centre = [int(v * s) for v, s in zip(one.box.centre, image.size, strict=True)]
        pixel = image.getpixel(tuple(centre))
        return next((name for name, value in COLORS.items() if value == pixel), None)


def llm(request):
    """Read "N squares", "a red square and a blue square" and "without squares"; want just that."""
    asked = request.text.split("User Prompt: ")[-1]
    prompt, rest = asked.split("\n", 1)
    wanted = []
    if found := re.search(r"with (one|two|three|five) squares?", prompt):
        wanted = [None] * ["zero", "one", "two", "three", "four", "five"].index(found[1])
    elif "without" not in prompt:
        wanted = [color for color in COLORS if f"{color} square" in prompt]
    if "nonsense" in prompt:
        return "I had rather not."
    if "Current Objects" not in rest:
        objects = [("square", wanted or [None])]
        return f"Objects: {objects}\nBackground: {prompt}\nNegation:"
    names = [f"{color} square" if color else "square" for color in wanted]
    goal = [
        (f"{name} #{names[: n + 1].count(name)}", [0.25 * (n % 4), 0.25 * (n // 4), 0.25, 0.25])
        for n, name in enumerate(names)
    ]
    return f"Updated Objects: {goal}"


def tools(folder, *, answer=llm, detector=None, editor=True):
    """The tools, with a transcript in a folder."""
    transcript = Transcript(Path(folder) / "transcript.jsonl")

    def ask(request, schema):
        return Reply(answer(request), None, 1, 1, 0.0)

    hand = Paints() if editor is True else editor
    return Tools(detector or SeesAll(), hand, lambda: RecordedLlm(options(), ask, transcript))


def task(image, prompt, seed=1, **given):
    from selma.correction.correcting import known_rule

    own = {"thresholds": THRESHOLDS, "scene": None, "suggestion": None} | given
    return Task(image, prompt, seed, predicate=known_rule(prompt, WORDS), **own)
