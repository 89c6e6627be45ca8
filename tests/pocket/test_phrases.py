"""The pocket world's grammar finds what a caption speaks of, and what it says of it."""

import random

import pytest

from selma.pocket.captions import noun_of
from selma.pocket.phrases import find_phrases
from selma.pocket.skills import DRAW, write_prompt


def said(caption):
    return [
        (caption[slice(*whole)], caption[slice(*noun)], [caption[slice(*one)] for one in modifiers])
        for whole, noun, modifiers in find_phrases(caption)
    ]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a small red circle", [("a small red circle", "circle", ["small", "red"])]),
        (
            "two big stars and 3 blue crosses on a white background",
            [
                ("two big stars", "stars", ["big"]),
                ("3 blue crosses", "crosses", ["blue"]),
                ("a white background", "background", ["white"]),
            ],
        ),
        (
            "above the star there is an orange ring. the background is black.",
            [
                ("the star", "star", []),
                ("an orange ring", "ring", ["orange"]),
                ("the background", "background", ["black"]),
            ],
        ),
        ("A Red Heart, gray background, icon style",
         [("A Red Heart", "Heart", ["Red"]), ("gray background", "background", ["gray"])]),
        ("hearty squaresome starships", []),
        ("", []),
    ],
)  # fmt: skip
def test_phrases_have_a_noun_and_what_describes_it(caption, expected):
    assert said(caption) == expected


@pytest.mark.parametrize("skill", sorted(DRAW))
def test_every_group_of_every_skills_prompts_is_found(skill):
    rng = random.Random(6)
    for _ in range(100):
        description = DRAW[skill](rng)
        found = said(write_prompt(skill, description, rng))
        for group in description.groups:
            own = [words for _, noun, words in found if noun == noun_of(group)]
            assert any(group.colour is None or group.colour in words for words in own)
        grounds = [words for _, noun, words in found if noun == "background"]
        assert grounds == ([[description.background]] if description.background else [])
