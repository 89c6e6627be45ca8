"""What the preference scorers learn from: ranked pictures of one prompt, and before them twins.

Each picture of a ranking has a flaw or two more than the one before it; the annotators who look at
it err now and then. Twins differ in one fact. No prompt is one that the benchmarks may use.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selma.core.choices import choose
from selma.core.seeds import derive_seed
from selma.foundation.defects import BROKEN, DEGRADED, paint
from selma.foundation.flaws import FACTS, Draft, add_flaw
from selma.foundation.naming import SceneLabels, label_scenes
from selma.pocket.captions import Description, realise
from selma.pocket.scenes import Scene
from selma.pocket.skills import DRAW, is_held_out, write_prompt

SAME_LAYOUT_SHARE = 0.5  # of worse pictures: objects stand where they stand in the better one
SEVERITY, MILD_SEVERITY = (0.25, 1.0), (0.0, 0.3)
# Few prompts have relations, or two colours that can change places: draw these more often.
FACT_DRAWS = (*sorted(FACTS), "relation", "relation", "relation", "swap")
# Of twins: any stranger teaches what else can differ.
HARD_FACTS = {"relation": 5, "swap": 3, "count": 2, "shape": 2, "size": 2}
TWIN_DRAWS = (*sorted(FACTS), *(kind for kind, more in HARD_FACTS.items() for _ in range(more)))
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Mix:
    """What a scorer's annotators compare, and how they err."""

    facts: float  # weight of pictures that are worse because of a false fact
    broken: float  # … because of a broken object
    degraded: float  # … because of bad pixels
    flips: float  # probability that two neighbours in a ranking change places
    ties: float  # probability that the annotator of a pair cannot decide
    pictures: tuple[int, ...]  # how many a ranking may have


MIXES = {
    "hps": Mix(0.30, 0.45, 0.25, flips=0.06, ties=0.0, pictures=(2,)),
    "imagereward": Mix(0.50, 0.35, 0.15, flips=0.05, ties=0.0, pictures=(3, 4)),
    "pickscore": Mix(0.50, 0.35, 0.15, flips=0.08, ties=0.04, pictures=(2,)),
}


@dataclass(frozen=True)
class Ranking:
    """Pictures of one prompt."""

    prompt: str
    description: Description  # its meaning
    drafts: tuple[Draft, ...]  # the pictures, best first
    scenes: tuple[Scene, ...]  # one per draft
    ranks: tuple[int, ...]  # where the annotators put each picture; equal for a tie


@dataclass(frozen=True)
class PreferenceSet:
    """R rankings with P pictures in all, ranking by ranking, each best first."""

    prompts: tuple[str, ...]  # R
    pictures: NDArray[np.uint8]  # (P, CANVAS_PX, CANVAS_PX, 3)
    starts: NDArray[np.int64]  # (R + 1,) where each ranking's pictures begin
    ranks: NDArray[np.int64]  # (P,) where the annotators put it in its ranking, 0 for the best
    kinds: tuple[str, ...]  # P; what makes it worse than the one before it, "" for the best


def draw_ranking(
    seed: int, scorer: str, split: str, index: int, refused: frozenset[str]
) -> Ranking:
    """Draw the ranking with a number, which depends on nothing else, of "train" or "held-out".

    No prompt is in `refused`, in lower case. ConfigError if there is no such scorer.
    """
    mix = choose("preference scorer", scorer, MIXES)
    rng = random.Random(derive_seed(seed, "preference", scorer, split, index))
    while True:
        _, prompt, description = draw_prompt(rng, refused)
        drafts = _drafts(Draft(description), mix, rng)
        scenes = draw_scenes(drafts, rng)
        if scenes is not None:
            return Ranking(prompt, description, drafts, scenes, _annotate(len(drafts), mix, rng))


def build_preference_set(
    seed: int, scorer: str, split: str, size: int, refused: frozenset[str], advance: Advance
) -> PreferenceSet:
    """Draw and paint `size` rankings; see `draw_ranking`. `advance(1)` follows each."""
    prompts, kinds, pictures = list[str](), list[str](), list[NDArray[np.uint8]]()
    starts, ranks = [0], list[int]()
    for index in range(size):
        ranking = draw_ranking(seed, scorer, split, index, refused)
        for place, (draft, scene) in enumerate(zip(ranking.drafts, ranking.scenes, strict=True)):
            paint_seed = derive_seed(seed, "preference-paint", scorer, split, index, place)
            pictures.append(paint(scene, draft.defects, paint_seed))
            kinds.append(draft.kinds[len(ranking.drafts[place - 1].kinds)] if place else "")
        prompts.append(ranking.prompt)
        ranks += ranking.ranks
        starts.append(len(pictures))
        advance(1)
    return PreferenceSet(
        tuple(prompts), np.stack(pictures), np.array(starts), np.array(ranks), tuple(kinds)
    )


def draw_prompt(rng: random.Random, refused: frozenset[str]) -> tuple[str, str, Description]:
    """Draw a skill, a prompt of it and its meaning; no prompt that is refused or held out."""
    while True:
        skill = rng.choice(sorted(DRAW))
        description = DRAW[skill](rng)
        prompt = write_prompt(skill, description, rng)
        if not is_held_out(prompt) and prompt.lower() not in refused:
            return skill, prompt, description


def _drafts(clean: Draft, mix: Mix, rng: random.Random) -> tuple[Draft, ...]:
    best = clean
    for share, family in ((0.3, sorted(DEGRADED)), (0.2, FACT_DRAWS), (0.1, sorted(BROKEN))):
        if rng.random() < share:
            best = add_flaw(best, rng.choice(family), rng, severity=MILD_SEVERITY) or best
    drafts = [best]
    weights = (mix.facts, mix.broken, mix.degraded)
    pictures = rng.choice(mix.pictures)
    while len(drafts) < pictures:
        family = rng.choices((FACT_DRAWS, sorted(BROKEN), sorted(DEGRADED)), weights)[0]
        worse = _worsen(drafts[-1], family, rng)
        if rng.random() < 0.25:
            worse = _worsen(worse, family, rng)
        drafts.append(worse)
    return tuple(drafts)


def _worsen(draft: Draft, family: Sequence[str], rng: random.Random) -> Draft:
    """Add a flaw of the family, or of any family if none of its own applies."""
    everything = [*FACTS, *BROKEN, *DEGRADED]
    for kind in (*rng.sample(family, len(family)), *rng.sample(everything, len(everything))):
        if worse := add_flaw(draft, kind, rng, severity=SEVERITY):
            return worse
    raise AssertionError(f"no flaw can be added to {draft}")


def draw_scenes(drafts: tuple[Draft, ...], rng: random.Random) -> tuple[Scene, ...] | None:
    """Lay the drafts' objects out, in some of them as in the first; None if one has no room."""
    layout = rng.randrange(2**32)
    scenes: list[Scene] = []
    for place, draft in enumerate(drafts):
        same = place == 0 or rng.random() < SAME_LAYOUT_SHARE
        scene = realise(draft.description, random.Random(layout if same else rng.randrange(2**32)))
        if scene is None:
            return None
        scenes.append(scene)
    return tuple(scenes)


def _annotate(pictures: int, mix: Mix, rng: random.Random) -> tuple[int, ...]:
    if rng.random() < mix.ties:
        return (0,) * pictures
    ranks = list(range(pictures))
    for place in range(pictures - 1):
        if rng.random() < mix.flips:
            ranks[place], ranks[place + 1] = ranks[place + 1], ranks[place]
    return tuple(ranks)


@dataclass(frozen=True)
class TwinSet:
    """2N captioned pictures; 2k and 2k + 1 differ in one fact."""

    captions: tuple[str, ...]  # 2N
    pictures: NDArray[np.uint8]  # (2N, CANVAS_PX, CANVAS_PX, 3)
    labels: SceneLabels  # of the 2N scenes


def build_twin_set(
    seed: int, scorer: str, twins: int, refused: frozenset[str], advance: Advance
) -> TwinSet:
    """Draw and paint pairs of twins; a quarter are mildly blurred, muddy or noisy, both alike."""
    captions, pictures, told = list[str](), [], list[tuple[Description, Scene]]()
    for index in range(twins):
        rng = random.Random(derive_seed(seed, "twins", scorer, index))
        for caption, draft, scene in _twins(rng, refused):
            captions.append(caption)
            pictures.append(paint(scene, draft.defects, rng.randrange(2**32)))
            told.append((draft.description, scene))
        advance(1)
    return TwinSet(tuple(captions), np.stack(pictures), label_scenes(told))


def _twins(rng: random.Random, refused: frozenset[str]) -> Iterator[tuple[str, Draft, Scene]]:
    while True:
        skill, _, description = draw_prompt(rng, refused)
        first = Draft(description)
        if rng.random() < 0.25:
            kind = rng.choice(sorted(DEGRADED))
            first = add_flaw(first, kind, rng, severity=MILD_SEVERITY) or first
        fact = rng.choice(TWIN_DRAWS)
        second = add_flaw(first, fact, rng, severity=MILD_SEVERITY)
        if second is None:
            continue
        # A spatial caption names two groups and a link: no more and no fewer.
        style = "paragraph" if skill == "spatial" and fact in ("extra", "missing") else skill
        wording, drafts = rng.randrange(2**32), (first, second)
        captions = [write_prompt(style, d.description, random.Random(wording)) for d in drafts]
        scenes = draw_scenes(drafts, rng)
        if scenes is None or any(is_held_out(c) or c.lower() in refused for c in captions):
            continue
        yield from zip(captions, drafts, scenes, strict=True)
        return
