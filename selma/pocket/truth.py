"""Ground truth of the pocket world: captions of a skill, each with a scene that it describes."""

import random
from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed
from selma.pocket.captions import realise
from selma.pocket.render import render
from selma.pocket.skills import DRAW, is_held_out, write_prompt

TRIES_PER_PAIR = 1000


def true_pairs(skill: str, number: int, seed: int) -> list[tuple[str, NDArray[np.uint8]]]:
    """Write different captions of a skill, each with a rendered picture that shows what it says.

    No caption is one that is kept for benchmarks. More pairs begin with the fewer.

    Raises:
        ConfigError: there is no such skill here, or it has fewer captions.
    """
    choose("skill of the pocket world", skill, DRAW)
    found: dict[str, NDArray[np.uint8]] = {}
    for attempt, (caption, picture) in enumerate(_pairs(skill, seed)):
        if len(found) == number:
            break
        if attempt > TRIES_PER_PAIR * number:
            raise ConfigError(
                f"per_skill: {number} different captions were asked for, {skill} has about "
                f"{len(found)}"
            )
        found.setdefault(caption, picture)
    return list(found.items())


def _pairs(skill: str, seed: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for number in count():
        rng = random.Random(derive_seed(seed, "truth", skill, number))
        description = DRAW[skill](rng)
        caption = write_prompt(skill, description, rng)
        scene = None if is_held_out(caption) else realise(description, rng)
        if scene is not None:
            yield caption, render(scene)
