"""Noun phrases of a prompt, by a grammar that is loaded when it is chosen; and their tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.diffusion.tokens import Span, tokens_of


@dataclass(frozen=True)
class Phrase:
    """A noun, the words that describe it, and the noun phrase around it.

    A modifier may stand outside of the phrase: "the background is red".
    """

    whole: Span
    noun: Span
    modifiers: tuple[Span, ...]  # one word each, in the prompt's order


Phrases = Callable[[str], Sequence[Phrase]]  # of a prompt, in its order


def _pocket(model: str | None) -> Phrases:
    from selma.pocket.phrases import find_phrases

    if model is not None:
        raise ConfigError(f"phrases: 'pocket' is a grammar without a model, got {model!r}; null")

    def phrases(prompt: str) -> list[Phrase]:
        return [
            Phrase(Span(*whole), Span(*noun), tuple(Span(*one) for one in modifiers))
            for whole, noun, modifiers in find_phrases(prompt)
        ]

    return phrases


def _spacy(model: str | None) -> Phrases:
    from selma.diffusion.samplers.spacy_phrases import find_phrases, load_spacy

    if model is None:
        raise ConfigError(
            "phrases: 'spacy' needs the name of a pipeline as its model, e.g. en_core_web_trf"
        )
    parse = load_spacy(model)

    def phrases(prompt: str) -> list[Phrase]:
        return find_phrases(parse(prompt))

    return phrases


GRAMMARS: dict[str, Callable[[str | None], Phrases]] = {"pocket": _pocket, "spacy": _spacy}


def load_phrases(kind: str, model: str | None) -> Phrases:
    """Load a grammar of `GRAMMARS`; each different prompt is parsed once.

    Args:
        kind: its name.
        model: of spaCy, the name of an installed pipeline; null for a grammar without one.

    Raises:
        ConfigError: there is no such kind, or the model does not fit it.
        MissingDependencyError: spaCy, or its pipeline, is not installed.
    """
    return cache(choose("grammar of phrases", kind, GRAMMARS)(model))


@dataclass(frozen=True)
class TokenPhrase:
    """A phrase as positions of a prompt's tokens, as the text encoder sees them."""

    whole: tuple[int, ...]
    noun: tuple[int, ...]
    modifiers: tuple[tuple[int, ...], ...]


def phrase_tokens(tokenizer: Any, prompt: str, phrases: Sequence[Phrase]) -> list[TokenPhrase]:
    """Find the tokens of phrases; what is cut off, because the prompt is too long, is left out."""
    found = []
    for phrase in phrases:
        spans = [phrase.whole, phrase.noun, *phrase.modifiers]
        whole, noun, *modifiers = tokens_of(tokenizer, prompt, spans)
        if noun:
            found.append(TokenPhrase(whole, noun, tuple(filter(None, modifiers))))
    return found
