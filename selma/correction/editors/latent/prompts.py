"""Prompts of scenes, and which of their tokens are a phrase's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selma.correction.layout import Layout, Named
from selma.correction.scene import Label
from selma.correction.words import number_word, plural, with_article


@dataclass(frozen=True)
class Span:
    """Characters of a prompt, from `start` up to `end`."""

    start: int
    end: int


@dataclass(frozen=True)
class Phrase:
    """What a prompt says of objects of one label."""

    objects: tuple[Named, ...]
    whole: Span
    noun: Span  # its last word is the word that an object is looked for by


@dataclass(frozen=True)
class Prompt:
    """A prompt, and where it speaks of the objects that are added."""

    text: str
    phrases: tuple[Phrase, ...]


def scene_prompt(background: str, goal: Layout, added: Layout) -> Prompt:
    """Ask for a whole scene: "A beach with a kite, an owl, an owl | two owls".

    Added objects of one label are one phrase; where there are several, it stands at the end, as in
    the published code.

    Args:
        background: of the scene.
        goal: all objects, in the order in which they are named.
        added: those of them that are added; they become phrases.
    """
    text, spans = background, dict[str, Span]()
    for number, one in enumerate(goal):
        text += ", " if number else " with "
        spans[one.name], text = _append(text, with_article(one.label.text))
    phrases = []
    for label in dict.fromkeys(one.label for one in added):
        objects = tuple(one for one in added if one.label == label)
        if len(objects) == 1:
            whole, last = spans[objects[0].name], len(label.noun)
        else:
            whole, text = _append(f"{text} | ", _several(label, len(objects)))
            last = len(plural(label.noun))
        phrases.append(Phrase(objects, whole, Span(whole.end - last, whole.end)))
    return Prompt(text, tuple(phrases))


def object_prompt(background: str, one: Named) -> Prompt:
    """Ask for one object alone."""
    return scene_prompt(background, (one,), (one,))


def _append(text: str, more: str) -> tuple[Span, str]:
    return Span(len(text), len(text) + len(more)), text + more


def _several(label: Label, count: int) -> str:
    return " ".join(filter(None, (number_word(count), label.attribute, plural(label.noun))))


def tokens_of(tokenizer: Any, text: str, spans: Sequence[Span]) -> list[tuple[int, ...]]:
    """Find the positions of the tokens that lie in each span, as the text encoder sees them.

    Positions count the start token. A span that is cut off, because the prompt is too long, has
    none.
    """
    read = tokenizer(
        text, truncation=True, max_length=tokenizer.model_max_length, return_offsets_mapping=True
    )
    offsets = read["offset_mapping"]
    return [
        tuple(
            position
            for position, (start, end) in enumerate(offsets)
            if start < min(end, span.end) and end > span.start
        )
        for span in spans
    ]
