"""Prompts of scenes, and where in them a phrase stands."""

from dataclasses import dataclass

from selma.correction.layout import Layout, Named
from selma.correction.scene import Label
from selma.correction.words import number_word, plural, with_article
from selma.diffusion.tokens import Span


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
