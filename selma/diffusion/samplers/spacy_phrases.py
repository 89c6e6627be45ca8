"""Noun phrases of an English prompt, read off spaCy's parse as SynGen reads it."""

from collections.abc import Callable, Iterator
from typing import Any

from selma.core.errors import MissingDependencyError, one_line
from selma.diffusion.samplers.phrases import Phrase
from selma.diffusion.tokens import Span

NOUNS = ("NOUN", "PROPN")
# Relations by which a word describes a noun; SynGen, arXiv 2306.08877, appendix on its parser.
MODIFIERS = ("amod", "nmod", "compound", "npadvmod", "advmod", "acomp")


def load_spacy(model: str) -> Callable[[str], Any]:
    """Load a spaCy pipeline with a parser; MissingDependencyError says how to get it."""
    try:
        import spacy
    except ImportError as error:
        raise MissingDependencyError(
            "phrases: spacy is not installed; run `pip install spacy` and "
            f"`python -m spacy download {model}`"
        ) from error
    try:
        parse: Callable[[str], Any] = spacy.load(model)
    except OSError as error:
        raise MissingDependencyError(
            f"phrases: spaCy has no pipeline {model!r} ({one_line(error)}); "
            f"run `python -m spacy download {model}`"
        ) from error
    return parse


def find_phrases(doc: Any) -> list[Phrase]:
    """List the base noun phrases of a parsed prompt, without nested ones.

    Args:
        doc: a spaCy Doc with parts of speech and dependencies.
    """
    phrases = []
    for chunk in doc.noun_chunks:
        noun = chunk.root
        if noun.pos_ in NOUNS:
            words = sorted(_modifiers(noun), key=lambda word: int(word.idx))
            whole = Span(chunk.start_char, chunk.end_char)
            phrases.append(Phrase(whole, _span(noun), tuple(map(_span, words))))
    return phrases


def _modifiers(noun: Any) -> Iterator[Any]:
    """Tell the words that describe a noun, also through a verb: "a dog that is red"."""
    waiting = [child for child in noun.children if child.dep_ in (*MODIFIERS, "relcl")]
    if noun.dep_ == "nsubj" and noun.head.pos_ == "AUX":  # "the dog is red"
        waiting += [child for child in noun.head.children if child.dep_ in MODIFIERS]
    while waiting:
        word = waiting.pop()
        if word.dep_ != "relcl":
            yield word
        waiting += [child for child in word.children if child.dep_ in (*MODIFIERS, "conj")]


def _span(word: Any) -> Span:
    return Span(word.idx, word.idx + len(word.text))
