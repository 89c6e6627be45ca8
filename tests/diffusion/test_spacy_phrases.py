"""Noun phrases of parses that are written out by hand, as spaCy would give them."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from selma.diffusion.samplers.spacy_phrases import find_phrases


@dataclass(eq=False)
class Word:
    """What a spaCy Token tells of a word."""

    text: str
    pos_: str
    dep_: str
    idx: int
    head: "Word | None" = None
    children: list = field(default_factory=list)


def parse(words, chunks):
    """A Doc of "text/part/relation/head" words; chunks are first and last word, and the root."""
    found, start = [], 0
    for word in words.split():
        text, part, relation, _ = word.split("/")
        found.append(Word(text, part, relation, start))
        start += len(text) + 1
    for word, told in zip(found, words.split(), strict=True):
        word.head = found[int(told.split("/")[3])]
        if word.head is not word:
            word.head.children.append(word)
    spans = [
        SimpleNamespace(
            root=found[root],
            start_char=found[first].idx,
            end_char=found[last].idx + len(found[last].text),
        )
        for first, last, root in chunks
    ]
    return SimpleNamespace(noun_chunks=spans), " ".join(word.text for word in found)


def said(words, *chunks):
    doc, text = parse(words, chunks)
    return [
        [text[span.start : span.end] for span in (one.whole, one.noun, *one.modifiers)]
        for one in find_phrases(doc)
    ]


def test_adjectives_and_nouns_before_a_noun_describe_it_and_articles_and_numbers_do_not():
    words = (
        "two/NUM/nummod/3 very/ADV/advmod/2 blue/ADJ/amod/3 birds/NOUN/ROOT/3 and/CCONJ/cc/3 "
        "a/DET/det/7 checkered/ADJ/amod/7 bowl/NOUN/conj/3"
    )
    assert said(words, (0, 3, 3), (5, 7, 7)) == [
        ["two very blue birds", "birds", "very", "blue"],
        ["a checkered bowl", "bowl", "checkered"],
    ]


def test_adjectives_that_are_joined_describe_the_same_noun():
    words = "a/DET/det/4 red/ADJ/amod/4 and/CCONJ/cc/1 white/ADJ/conj/1 kite/NOUN/ROOT/4"
    assert said(words, (0, 4, 4)) == [["a red and white kite", "kite", "red", "white"]]


@pytest.mark.parametrize(
    "words",
    [
        "the/DET/det/1 dog/NOUN/nsubj/2 is/AUX/ROOT/2 red/ADJ/acomp/2",
        "the/DET/det/1 dog/NOUN/ROOT/1 that/PRON/nsubj/3 is/AUX/relcl/1 red/ADJ/acomp/3",
    ],
)
def test_what_is_said_of_a_noun_by_a_verb_describes_it_and_the_verb_does_not(words):
    assert said(words, (0, 1, 1)) == [["the dog", "dog", "red"]]


def test_a_participle_before_a_noun_describes_it():
    words = "a/DET/det/3 snow/NOUN/npadvmod/2 capped/VERB/amod/3 mountain/NOUN/ROOT/3"
    assert said(words, (0, 3, 3)) == [["a snow capped mountain", "mountain", "snow", "capped"]]


def test_a_pronoun_is_no_noun():
    assert said("it/PRON/nsubj/1 is/AUX/ROOT/1 red/ADJ/acomp/1", (0, 0, 0)) == []
