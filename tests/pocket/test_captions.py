import random

import pytest

from selma.foundation.pictures import CaptionNoise, captioned_picture, draw_truth, make_wrong
from selma.pocket.captions import Description, Group, Link, article, phrase, plural, realise
from selma.pocket.scenes import RELATIONS, holds
from selma.pocket.skills import AVOIDED_PAIRS, DRAW, FAVOURED_PAIRS, is_held_out, write_prompt


def test_a_group_is_said_as_english_says_it():
    rng = random.Random(0)
    assert phrase(Group("circle", "orange"), rng) == "an orange circle"
    assert phrase(Group("cross", "red", "small", 3), random.Random(1)) == "three small red crosses"
    assert plural("heart") == "hearts"
    assert article("red ring") == "a red ring"


@pytest.mark.parametrize("skill", sorted(DRAW))
def test_every_skill_names_what_it_describes(skill):
    rng = random.Random(3)
    for _ in range(200):
        description = DRAW[skill](rng)
        prompt = write_prompt(skill, description, rng)
        for group in description.groups:
            assert group.shape in prompt
            assert group.colour is None or group.colour in prompt
        if description.background:
            assert description.background in prompt


@pytest.mark.parametrize("skill", sorted(DRAW))
def test_every_skill_has_many_surface_forms(skill):
    rng = random.Random(4)
    description = Description(
        (Group("circle", "red", "small"), Group("star", "blue", "large")),
        (Link(0, "above", 1),),
        "white",
    )
    assert len({write_prompt(skill, description, rng) for _ in range(300)}) >= 8


def test_a_realised_scene_shows_what_was_described():
    rng = random.Random(5)
    for _ in range(200):
        description = DRAW["spatial"](rng)
        scene = realise(description, rng)
        first, second = scene.objects
        link = description.links[0]
        centres = (first.x, first.y), (second.x, second.y)
        assert holds(link.relation, *centres)
        assert (first.shape, first.colour) == (
            description.groups[0].shape,
            description.groups[0].colour,
        )


def test_counterfactual_prompts_are_about_pairs_the_training_pictures_avoid():
    rng = random.Random(6)
    for _ in range(100):
        groups = DRAW["counterfactual"](rng).groups
        assert all((g.shape, g.colour) in AVOIDED_PAIRS for g in groups)


def test_training_pictures_favour_some_pairs_and_hardly_show_others():
    rng = random.Random(7)
    pairs = [(g.shape, g.colour) for _ in range(4000) for g in draw_truth(rng)[1].groups]
    favoured = sum(pair in FAVOURED_PAIRS for pair in pairs) / len(pairs)
    avoided = sum(pair in AVOIDED_PAIRS for pair in pairs) / len(pairs)
    assert favoured == pytest.approx(6 / 10.12, abs=0.06)
    assert avoided < 0.03


def test_a_wrong_caption_says_something_else():
    rng = random.Random(8)
    for _ in range(300):
        _, truth = draw_truth(rng)
        assert make_wrong(truth, rng) != truth


def test_no_training_caption_is_held_out_for_the_benchmarks():
    noise = CaptionNoise(wrong=0.4, partial=0.15)
    captions = [
        caption
        for index in range(300)
        for caption in captioned_picture(0, index, captions=4, noise=noise).captions
    ]
    assert not any(is_held_out(caption) for caption in captions)


def test_about_one_prompt_in_ten_is_held_out_whatever_its_case_or_punctuation():
    rng = random.Random(9)
    prompts = {write_prompt(s, DRAW[s](rng), rng) for s in DRAW for _ in range(500)}
    share = sum(map(is_held_out, prompts)) / len(prompts)
    assert share == pytest.approx(0.1, abs=0.03)
    assert all(is_held_out(p) == is_held_out(p.upper() + "!") for p in prompts)


def test_a_training_picture_depends_on_its_number_alone():
    noise = CaptionNoise(wrong=0.4, partial=0.15)
    first = captioned_picture(0, 17, captions=3, noise=noise)
    second = captioned_picture(0, 17, captions=3, noise=noise)
    assert first.captions == second.captions
    assert (first.picture == second.picture).all()


def test_all_relations_are_drawn():
    rng = random.Random(10)
    drawn = {DRAW["spatial"](rng).links[0].relation for _ in range(200)}
    assert drawn == set(RELATIONS)
