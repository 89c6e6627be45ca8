"""Tests of the preference pairs, against an oracle that reads scenes, not pixels."""

import itertools
import random

import numpy as np
import pytest

from selma.core.errors import ConfigError
from selma.foundation.defects import BROKEN, DEGRADED, paint
from selma.foundation.flaws import FACTS, Defect, Draft, add_flaw
from selma.foundation.preference_pairs import (
    MIXES,
    build_preference_set,
    build_twin_set,
    draw_ranking,
)
from selma.pocket.captions import Description, Group, Link
from selma.pocket.render import render
from selma.pocket.scenes import Scene, SceneObject, holds
from selma.pocket.skills import is_held_out

NONE: frozenset[str] = frozenset()
SCENE = Scene("white", (SceneObject("circle", "red", "large", 16.0, 14.0),))
ASKED = Description(
    (Group("circle", "red", "small"), Group("star", "blue"), Group("ring", "pink")),
    (Link(1, "above", 0),),
    "white",
)


def _members(group, scene):
    return [
        item
        for item in scene.objects
        if item.shape == group.shape
        and group.colour in (None, item.colour)
        and group.size in (None, item.size)
    ]


def _false_facts(asked, scene):
    """Count what a person would call wrong: groups, links, background, things not asked for."""
    members = [_members(group, scene) for group in asked.groups]
    wrong = sum(len(m) != g.count for m, g in zip(members, asked.groups, strict=True))
    for link in asked.links:
        firsts, seconds = members[link.first], members[link.second]
        fits = firsts and seconds
        wrong += not fits or not holds(
            link.relation, (firsts[0].x, firsts[0].y), (seconds[0].x, seconds[0].y)
        )
    wrong += asked.background not in (None, scene.background)
    return wrong + any(item.shape not in {g.shape for g in asked.groups} for item in scene.objects)


def _advance(number):
    pass


def _rankings(scorer, number):
    return [draw_ranking(0, scorer, "train", index, NONE) for index in range(number)]


@pytest.mark.parametrize("scorer", sorted(MIXES))
def test_each_picture_of_a_ranking_has_the_flaws_of_the_one_before_it_and_more(scorer):
    for ranking in _rankings(scorer, 60):
        for better, worse in itertools.pairwise(ranking.drafts):
            assert worse.kinds[: len(better.kinds)] == better.kinds
            assert len(worse.kinds) > len(better.kinds)
            assert worse.defects[: len(better.defects)] == better.defects


def test_a_false_fact_makes_a_scene_fit_its_prompt_less_and_a_drawing_defect_does_not():
    for ranking in _rankings("imagereward", 150):
        states = list(zip(ranking.drafts, ranking.scenes, strict=True))
        for (better, good_scene), (worse, bad_scene) in itertools.pairwise(states):
            added = set(worse.kinds) - set(better.kinds)
            before = _false_facts(ranking.description, good_scene)
            after = _false_facts(ranking.description, bad_scene)
            if not set(better.kinds) & FACTS.keys():
                assert before == 0
                assert (after > 0) == bool(added & FACTS.keys()), (ranking, added)


@pytest.mark.parametrize("kind", sorted(FACTS))
def test_every_kind_of_fact_can_be_made_false(kind):
    asked = ASKED if kind != "count" else Description((Group("circle", "red", None, 2),))
    changed = add_flaw(Draft(asked), kind, random.Random(1), severity=(0.0, 1.0))
    assert changed is not None and changed.description != asked
    assert add_flaw(changed, kind, random.Random(1), severity=(0.0, 1.0)) is None


def test_a_group_that_is_wrong_is_never_changed_again():
    draft = Draft(Description((Group("circle", "red"),)), touched=frozenset({"circle"}))
    for kind in ("colour", "shape", "size", "count", "swap", "missing"):
        assert add_flaw(draft, kind, random.Random(0), severity=(0.0, 1.0)) is None


def test_a_picture_without_defects_is_the_renderers():
    assert np.array_equal(paint(SCENE, [], 5), render(SCENE))


@pytest.mark.parametrize("kind", sorted(BROKEN | DEGRADED))
def test_every_defect_shows_and_more_so_when_severe(kind):
    clean = render(SCENE).astype(float)
    errors = [
        np.mean([np.abs(paint(SCENE, [Defect(kind, s, 0.0)], k) - clean).mean() for k in range(12)])
        for s in (0.1, 1.0)
    ]
    assert 0.1 < errors[0] < errors[1]


def test_the_share_of_noise_lies_within_its_binomial_interval():
    rankings = _rankings("pickscore", 1500)
    for share, hits in (
        (MIXES["pickscore"].ties, sum(r.ranks == (0, 0) for r in rankings)),
        (
            MIXES["pickscore"].flips * (1 - MIXES["pickscore"].ties),
            sum(r.ranks == (1, 0) for r in rankings),
        ),
    ):
        deviation = (share * (1 - share) / len(rankings)) ** 0.5
        assert abs(hits / len(rankings) - share) < 3.5 * deviation


def test_the_same_seed_gives_the_same_set_and_a_ranking_does_not_depend_on_the_size():
    small = build_preference_set(3, "hps", "train", 4, NONE, _advance)
    large = build_preference_set(3, "hps", "train", 8, NONE, _advance)
    assert small.prompts == large.prompts[:4]
    assert np.array_equal(small.pictures, large.pictures[: len(small.pictures)])
    other = build_preference_set(3, "hps", "held-out", 4, NONE, _advance)
    assert other.prompts != small.prompts


def test_no_prompt_is_held_out_for_the_benchmarks_or_refused():
    first = build_preference_set(0, "pickscore", "train", 150, NONE, _advance)
    refused = frozenset(prompt.lower() for prompt in first.prompts)
    second = build_preference_set(0, "pickscore", "train", 150, refused, _advance)
    twins = build_twin_set(0, "pickscore", 80, refused, _advance)
    texts = [*second.prompts, *twins.captions]
    assert not any(is_held_out(text) for text in [*first.prompts, *texts])
    assert not refused & {text.lower() for text in texts}


def test_an_unknown_scorer_is_an_error_that_lists_the_scorers():
    with pytest.raises(ConfigError, match="hps, imagereward, pickscore"):
        draw_ranking(0, "pick_score", "train", 0, NONE)


def test_twins_have_different_captions_and_pictures():
    twins = build_twin_set(1, "hps", 60, NONE, _advance)
    assert len(twins.captions) == len(twins.pictures) == len(twins.labels.colours) == 120
    for k in range(0, 120, 2):
        assert twins.captions[k] != twins.captions[k + 1]
        assert not np.array_equal(twins.pictures[k], twins.pictures[k + 1])
