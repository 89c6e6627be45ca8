"""The pictures and captions a pocket base model learns from: biased and noisy, as web data are.

Two flaws are built in, and both are what self-training is meant to repair:

1. Pictures: each shape mostly comes in its favoured colours and hardly ever in its avoided ones.
2. Captions: a share leaves things out (partial), and a share says something that is not so (wrong).
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.pocket.captions import Description, Group, realise
from selma.pocket.render import render
from selma.pocket.scenes import (
    BACKGROUNDS,
    COLOURS,
    MAX_OBJECTS,
    RADII_PX,
    RELATIONS,
    SHAPES,
    Scene,
)
from selma.pocket.skills import AVOIDED_PAIRS, DRAW, FAVOURED_PAIRS, is_held_out, write_prompt

FAVOURED_WEIGHT, AVOIDED_WEIGHT = 3.0, 0.06  # against 1.0 for the other pairs
KINDS = {"common": 3, "count": 4, "attributes": 4, "spatial": 4, "paragraph": 4}


@dataclass(frozen=True)
class CaptionNoise:
    """How far captions can be trusted."""

    wrong: float  # share of captions with one or two false facts
    partial: float  # share of captions that leave out colours, sizes or whole objects


@dataclass(frozen=True)
class Captioned:
    """A picture and several captions drawn for it."""

    picture: NDArray[np.uint8]
    captions: tuple[str, ...]


def biased_colour(shape: str, rng: random.Random) -> str:
    """Draw a colour for a shape with the bias of the training pictures."""
    weights = {pair: FAVOURED_WEIGHT for pair in FAVOURED_PAIRS}
    weights |= {pair: AVOIDED_WEIGHT for pair in AVOIDED_PAIRS}
    return rng.choices(list(COLOURS), [weights.get((shape, c), 1.0) for c in COLOURS])[0]


def draw_truth(rng: random.Random) -> tuple[str, Description]:
    """Draw a kind of picture and a description in which nothing is left unsaid."""
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    description = DRAW[kind](rng)
    groups: list[Group] = []
    for group in description.groups:
        colour = biased_colour(group.shape, rng)
        while any(colour == other.colour for other in groups):
            any_colour = rng.random() < 0.05
            colour = rng.choice(list(COLOURS)) if any_colour else biased_colour(group.shape, rng)
        groups.append(replace(group, colour=colour, size=group.size or rng.choice(list(RADII_PX))))
    background = description.background or rng.choice(list(BACKGROUNDS))
    return kind, Description(tuple(groups), description.links, background)


_VALUES: dict[str, Iterable[Any]] = {
    "colour": COLOURS, "shape": SHAPES, "size": RADII_PX, "count": range(1, MAX_OBJECTS + 1)
}  # fmt: skip


def make_wrong(description: Description, rng: random.Random) -> Description:
    """Say one thing that is not so."""
    kinds = ["colour", "colour", "shape", "size", "background"]
    kinds += ["count"] * 2 + (["relation"] * 3 if description.links else [])
    kind = rng.choice(kinds)
    groups, links = list(description.groups), list(description.links)
    index = rng.randrange(len(groups))
    group = groups[index]
    if kind == "relation":
        place = rng.randrange(len(links))
        links[place] = replace(links[place], relation=_other(RELATIONS, links[place].relation, rng))
    elif kind == "background" or (kind == "count" and links):
        background = _other(BACKGROUNDS, description.background, rng)
        return replace(description, background=background)
    else:
        said = {kind: _other(_VALUES[kind], getattr(group, kind), rng)}
        groups[index] = replace(group, **said)
    return Description(tuple(groups), tuple(links), description.background)


def make_partial(description: Description, rng: random.Random) -> Description:
    """Leave something out: an object if there are several, or colours."""
    groups = list(description.groups)
    if len(groups) > 1 and not description.links and rng.random() < 0.5:
        del groups[rng.randrange(len(groups))]
    else:
        index = rng.randrange(len(groups))
        groups[index] = replace(groups[index], colour=None)
    return Description(tuple(groups), description.links, description.background)


def caption_of(kind: str, truth: Description, noise: CaptionNoise, rng: random.Random) -> str:
    """Write one caption of a picture: the facts its kind of caption tells, with noise."""
    said = truth
    draw = rng.random()
    if draw < noise.wrong:
        for _ in range(rng.choice((1, 1, 2))):
            said = make_wrong(said, rng)
    elif draw < noise.wrong + noise.partial:
        said = make_partial(said, rng)
    keeps_sizes = kind == "attributes" or rng.random() < 0.45
    groups = tuple(g if keeps_sizes else replace(g, size=None) for g in said.groups)
    background = said.background if rng.random() < 0.55 else None
    said = Description(groups, said.links, background)
    return write_prompt(_style(kind, said, rng), said, rng)


def _style(kind: str, said: Description, rng: random.Random) -> str:
    if kind == "spatial" and len(said.groups) == 2 and said.links and rng.random() < 0.7:
        return "spatial"
    if said.links or kind == "paragraph":
        return "paragraph"
    if rng.random() < 0.6:
        return kind if kind != "spatial" else "common"
    return rng.choice(("count", "attributes", "counterfactual", "common", "paragraph"))


def captioned_picture(seed: int, index: int, captions: int, noise: CaptionNoise) -> Captioned:
    """Make the training picture with a number and captions, none held out for the benchmarks."""
    rng = random.Random(derive_seed(seed, "picture", index))
    kind, truth, scene = draw_scene(rng)
    written: list[str] = []
    while len(written) < captions:
        caption = caption_of(kind, truth, noise, rng)
        if not is_held_out(caption):
            written.append(caption)
    return Captioned(render(scene), tuple(written))


def draw_scene(rng: random.Random) -> tuple[str, Description, Scene]:
    """Draw a kind of picture, its full description and a scene that this fits."""
    scene = None
    while scene is None:
        kind, truth = draw_truth(rng)
        scene = realise(truth, rng)
    return kind, truth, scene


def _other(values: Iterable[Any], value: object, rng: random.Random) -> Any:
    return rng.choice([v for v in values if v != value])
