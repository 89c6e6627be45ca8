"""The LMD benchmark: 400 prompts of four categories by one rule, and the way back from a prompt."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from selma.core.errors import RecordError
from selma.correction.predicates import SIDES, Absent, Attributes, Count, Predicate, Relation
from selma.correction.scene import Label
from selma.correction.words import number_word, plural, with_article
from selma.runtime.sections import Section
from selma.runtime.yaml_files import read_yaml, validate

CATEGORIES = ("negation", "numeracy", "attribution", "spatial")
PER_CATEGORY = 100


@dataclass(frozen=True)
class Vocabulary:
    """The words that the prompts are made of."""

    prefix: str
    nouns: tuple[str, ...]  # in the singular
    colors: tuple[str, ...]
    counts: tuple[int, ...]  # how many of a noun a numeracy prompt may ask for


LMD = Vocabulary(
    "A realistic photo of a scene",
    ("backpack", "book", "bottle", "bowl", "car", "cat", "chair", "cup", "dog", "laptop"),
    ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
    + ("gray",),
    (1, 2, 3, 4, 5),
)


def _one_line(text: str) -> str:
    if text != " ".join(text.split()):
        raise ValueError("must be words with single spaces between them")
    return text


def _distinct(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("must differ from each other")
    return values


_Words = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
_Several = Annotated[list[_Words], Field(min_length=2), AfterValidator(_distinct)]


class VocabularyFile(Section):
    """A vocabulary as a file holds it."""

    prefix: _Words
    nouns: _Several
    colors: _Several
    counts: Annotated[list[Annotated[int, Field(ge=1, le=PER_CATEGORY)]], Field(min_length=1)]


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary of one's own from YAML 1.2.

    MissingDataError if there is no such file; ConfigError names all its problems.
    """
    words = validate(VocabularyFile, read_yaml(path), str(path))
    return Vocabulary(words.prefix, tuple(words.nouns), tuple(words.colors), tuple(words.counts))


@dataclass(frozen=True)
class LmdPrompt:
    """A prompt of the benchmark; prompts repeat, so a seed comes from the number."""

    number: int  # from 0
    text: str
    predicate: Predicate


def lmd_prompts(words: Vocabulary) -> list[LmdPrompt]:
    """Make the prompts; with `LMD` those of the benchmark, to the letter.

    Each category has `PER_CATEGORY`. Negation: all nouns, repeated as evenly as the number allows,
    repeats side by side. Numeracy: likewise each count with each noun. Attribution and spatial:
    colors and nouns drawn by numpy's legacy generator, seeded with the place in the category; four
    spatial prompts from each seed.
    """
    absent = [Absent(noun) for noun in words.nouns]
    counts = [Count(noun, number) for number in words.counts for noun in words.nouns]
    predicates = [*_evenly(absent), *_evenly(counts), *_attribution(words), *_spatial(words)]
    return [LmdPrompt(n, prompt_of(one, words), one) for n, one in enumerate(predicates)]


def prompt_of(predicate: Predicate, words: Vocabulary) -> str:
    """Write the prompt that asks for what a predicate checks."""
    if isinstance(predicate, Absent):
        return f"{words.prefix} without {plural(predicate.noun)}"
    return f"{words.prefix} with {_asked(predicate)}"


def _asked(predicate: Predicate) -> str:
    match predicate:
        case Count(noun, number):
            return f"{number_word(number)} {noun if number == 1 else plural(noun)}"
        case Attributes(first, second):
            return f"{with_article(first.text)} and {with_article(second.text)}"
        case Relation(first, side, second):
            left, right = with_article(first), with_article(second)
            return f"{left} on the {side} and {right} on the {SIDES[side]}"
    raise AssertionError(f"no prompt for {predicate}")


def _evenly(among: Sequence[Predicate]) -> list[Predicate]:
    """Repeat each of some predicates, in their order, until there are `PER_CATEGORY`."""
    return [among[n * len(among) // PER_CATEGORY] for n in range(PER_CATEGORY)]


def _attribution(words: Vocabulary) -> Iterator[Predicate]:
    for seed in range(PER_CATEGORY):
        random = np.random.RandomState(seed)
        colors = _draw_two(random, words.colors)
        nouns = _draw_two(random, words.nouns)
        yield Attributes(Label(colors[0], nouns[0]), Label(colors[1], nouns[1]))


def _spatial(words: Vocabulary) -> Iterator[Predicate]:
    for seed in range(PER_CATEGORY // len(SIDES)):
        random = np.random.RandomState(seed)
        for side in SIDES:
            first, second = _draw_two(random, words.nouns)
            yield Relation(first, side, second)


def _draw_two(random: np.random.RandomState, among: tuple[str, ...]) -> list[str]:
    return [str(word) for word in random.choice(among, size=2, replace=False)]


def read_prompt(text: str, words: Vocabulary) -> Predicate:
    """Find what a prompt of the benchmark asks for, by its form as a whole.

    White space around it and a full stop at its end do not matter.

    Raises:
        RecordError: it has none of the four forms with the vocabulary's words.
    """
    text = " ".join(text.split()).removesuffix(".").rstrip()
    numbers = {number_word(number): number for number in words.counts}
    plurals = {plural(noun): noun for noun in words.nouns}
    noun, color = _any_of(words.nouns), _any_of(words.colors)
    start, an = re.escape(words.prefix), "an?"
    if found := re.fullmatch(f"{start} without ({_any_of(plurals)})", text):
        return Absent(plurals[found[1]])
    if found := re.fullmatch(
        f"{start} with {an} ({noun}) on the (\\w+) and {an} ({noun}) on the (\\w+)", text
    ):
        if SIDES.get(found[2]) == found[4]:
            return Relation(found[1], found[2], found[3])
    elif found := re.fullmatch(
        f"{start} with {an} ({color}) ({noun}) and {an} ({color}) ({noun})", text
    ):
        return Attributes(Label(found[1], found[2]), Label(found[3], found[4]))
    elif found := re.fullmatch(
        f"{start} with ({_any_of(numbers)}) ({_any_of([*plurals, *words.nouns])})", text
    ):
        return Count(plurals.get(found[2], found[2]), numbers[found[1]])
    raise RecordError(
        f"{text!r} is no prompt of the benchmark; expected {words.prefix!r} with or without some "
        f"of {', '.join(words.nouns)}, as `selma score lmd` makes them"
    )


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)))
