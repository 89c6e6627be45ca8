"""The benchmark's prompts are the published ones, and its rules hold to the letter."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from tiny_world import ROOT

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.correction.detections import Detection
from selma.correction.layout import Box
from selma.correction.lmd import (
    CATEGORIES,
    LMD,
    Vocabulary,
    lmd_prompts,
    read_prompt,
    read_vocabulary,
)
from selma.correction.predicates import Absent, Attributes, Count, Relation
from selma.correction.scene import Label
from selma.pocket.scenes import COLOURS, MAX_OBJECTS, SHAPES

HASHES = {
    "negation": "a9da7d0b60542459eb9956ee59518411468cead59d2a2485409ce2a4452dd2dc",
    "numeracy": "bfbc0e6cc645d5a429ba8cf0db1eed5168325beb6f6e57e98459c919dee8d610",
    "attribution": "4108c3c1b1c6d08fe5f95dc16a6e340388cb4e19e6e68174c9db4ea2595874c7",
    "spatial": "0f4a3499b37620531a414f2637fe540d37a447038b0675a8a9ac6c74eb1ba8ee",
}
ALL = "05333f912cfba8603f153d53593f8524172627f28baaae462ae05235058eec9b"
PROMPTS = lmd_prompts(LMD)


def sha256(prompts):
    return hashlib.sha256("\n".join(one.text for one in prompts).encode()).hexdigest()


def test_the_400_prompts_are_those_of_the_benchmark():
    assert sha256(PROMPTS) == ALL
    assert [one.number for one in PROMPTS] == list(range(400))


@pytest.mark.parametrize("category", CATEGORIES)
def test_each_category_has_its_hundred_prompts(category):
    own = [one for one in PROMPTS if one.predicate.category == category]
    assert len(own) == 100 and sha256(own) == HASHES[category]


def test_how_many_prompts_are_distinct():
    distinct = {c: len({p.text for p in PROMPTS if p.predicate.category == c}) for c in CATEGORIES}
    assert distinct == {"negation": 10, "numeracy": 50, "attribution": 100, "spatial": 90}


def test_some_prompts_read_as_published():
    texts = [one.text.removeprefix("A realistic photo of a scene with ") for one in PROMPTS]
    assert texts[200] == "a blue dog and a white bowl"
    assert texts[202] == "a blue book and an orange chair"
    assert texts[300] == "a bottle on the left and a dog on the right"
    assert texts[399] == "a backpack on the bottom and a cup on the top"


def test_no_global_generator_is_used():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    lmd_prompts(LMD)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("end", ["", ".", " . "])
def test_each_prompt_is_read_back(end):
    assert [read_prompt(one.text + end, LMD) for one in PROMPTS[::7]] == [
        one.predicate for one in PROMPTS[::7]
    ]


OWN = Vocabulary(
    "A picture", ("phone", "oven", "palm tree"), ("red", "dark orange"), counts=(1, 2, 6)
)


def test_other_words_make_prompts_too_and_number_words_in_nouns_do_not_matter():
    prompts = lmd_prompts(OWN)
    texts = {one.text for one in prompts}
    assert {"A picture without palm trees", "A picture with one phone"} <= texts
    assert "A picture with one phone" in texts and any("a dark orange oven" in t for t in texts)
    assert [read_prompt(one.text, OWN) for one in prompts] == [one.predicate for one in prompts]


@pytest.mark.parametrize(
    "text",
    [
        "a dog and a phone",
        "A realistic photo of a scene with a phone",
        "A realistic photo of a scene with a dog on the left and a cat on the left",
        "A realistic photo of a scene with six dogs",
    ],
)
def test_a_prompt_of_another_form_is_refused(text):
    with pytest.raises(RecordError, match="is no prompt of the benchmark"):
        read_prompt(text, LMD)


def see(label, x=0.1, y=0.1, score=0.5, width=0.2):
    attribute, _, noun = label.rpartition(" ")
    return Detection(Label(attribute or None, noun), Box(x, y, width, 0.2), score)


TWO = Attributes(Label("red", "car"), Label("blue", "cup"))
RULES = [
    (Absent("dog"), [], True),
    (Absent("dog"), [see("dog")], False),
    (Absent("dog"), [see("cat")], True),
    (Count("dog", 2), [see("dog"), see("dog", 0.5)], True),
    (Count("dog", 2), [see("dog"), see("dog", 0.4), see("dog", 0.7)], False),
    (Count("dog", 2), [], False),
    (TWO, [see("red car"), see("blue cup")], True),
    (TWO, [see("red car"), see("red car", 0.5), see("blue cup")], True),
    (TWO, [see("red car"), see("blue car")], False),
    (TWO, [see("car"), see("blue cup")], False),
    (TWO, [], False),
    (Relation("dog", "left", "cat"), [see("dog", 0.1), see("cat", 0.5)], True),
    (Relation("dog", "left", "cat"), [see("dog", 0.5), see("cat", 0.1)], False),
    (Relation("dog", "left", "cat"), [see("dog", 0.1), see("cat", 0.1, 0.5)], False),
    (Relation("dog", "right", "cat"), [see("dog", 0.1), see("cat", 0.1, 0.5)], False),
    (Relation("dog", "left", "cat"), [see("dog", 0.2), see("cat", 0.1, width=0.5)], True),
    (Relation("dog", "right", "cat"), [see("dog", 0.5), see("cat", 0.1)], True),
    (Relation("dog", "top", "cat"), [see("dog", 0.1, 0.1), see("cat", 0.1, 0.5)], True),
    (Relation("dog", "bottom", "cat"), [see("dog", 0.1, 0.1), see("cat", 0.1, 0.5)], False),
    (Relation("dog", "top", "cat"), [see("dog", 0.1, 0.1), see("cat", 0.5, 0.1)], False),
    (Relation("dog", "left", "cat"), [see("dog")], False),
    (Relation("dog", "left", "cat"), [], False),
    # the best one of each counts
    (
        Relation("dog", "left", "cat"),
        [see("dog", 0.7, score=0.4), see("dog", 0.1, score=0.6), see("cat", 0.5)],
        True,
    ),
]


@pytest.mark.parametrize(("predicate", "found", "passes"), RULES)
def test_the_pass_rules(predicate, found, passes):
    assert predicate.passes(found) is passes
    assert predicate.passes(found[::-1]) is passes


def test_the_scene_of_a_predicate_holds_what_a_faultless_parser_reads():
    assert Absent("dog").scene("A photo").entries() == [("dog", [None])]
    assert Absent("dog").scene("A photo").negation == "dog"
    assert Count("dog", 3).scene("A photo").entries() == [("dog", [None] * 3)]
    same = Attributes(Label("red", "cup"), Label("blue", "cup"))
    assert same.scene("A photo").entries() == [("cup", ["red", "blue"])]


def test_any_vocabulary_has_a_hundred_prompts_of_each_category_spread_evenly():
    prompts = lmd_prompts(OWN)
    assert Counter(one.predicate.category for one in prompts) == dict.fromkeys(CATEGORIES, 100)
    absent = [one.predicate.noun for one in prompts[:100]]  # 3 nouns: 34, 33 and 33 times
    assert absent == ["phone"] * 34 + ["oven"] * 33 + ["palm tree"] * 33
    counts = [(one.predicate.number, one.predicate.noun) for one in prompts[100:200]]
    pairs = list(dict.fromkeys(counts))  # 9 pairs: 12 times the first, 11 times the others
    assert pairs == [(n, noun) for n in (1, 2, 6) for noun in OWN.nouns]
    assert [counts.count(pair) for pair in pairs] == [12] + [11] * 8


def test_the_pocket_worlds_vocabulary_makes_prompts_about_its_shapes():
    words = read_vocabulary(ROOT / "data/lmd/pocket.yaml")
    assert words.nouns == SHAPES and words.colors == tuple(COLOURS)
    assert words.counts == tuple(range(1, MAX_OBJECTS + 1))
    texts = [one.text for one in lmd_prompts(words)]
    assert len(texts) == 400 and texts[0] == "a picture without circles"
    assert {"a picture with four rings", "a picture without crosses"} <= set(texts)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nouns: [a, b]", "prefix"),
        ("{prefix: x, nouns: [a], colors: [c, d], counts: [1]}", "nouns"),
        ("{prefix: x, nouns: [a, a], colors: [c, d], counts: [1]}", "must differ"),
        ("{prefix: x, nouns: [a, b], colors: [c, 'd  e'], counts: [1]}", "single spaces"),
        ("{prefix: x, nouns: [a, b], colors: [c, d], counts: [0]}", "counts"),
        ("{prefix: x, nouns: [a, b], colors: [c, d], counts: [1], colours: []}", "colours"),
    ],
)
def test_a_vocabulary_that_breaks_a_rule_is_refused(tmp_path, text, problem):
    path = tmp_path / "words.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        read_vocabulary(path)


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"words\.yaml"):
        read_vocabulary(tmp_path / "words.yaml")
