"""What a prompt asks for: objects with attribute and count, background, negation."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DEFAULT_BACKGROUND = "A realistic image"


@dataclass(frozen=True)
class Label:
    """A kind of object: a noun, which may be several words, with an attribute or None."""

    attribute: str | None
    noun: str

    @property
    def text(self) -> str:
        return f"{self.attribute} {self.noun}" if self.attribute else self.noun

    @property
    def sort_key(self) -> tuple[str, str]:
        return self.noun, self.attribute or ""


@dataclass(frozen=True)
class Wanted:
    """A label, and how many objects of it the prompt asks for."""

    label: Label
    count: int


@dataclass(frozen=True)
class Scene:
    """A prompt's objects in its order, each label once, with background and negation.

    Forbidden objects are among the objects too, so that a detector looks for them.
    """

    objects: tuple[Wanted, ...]
    background: str
    negation: str  # "" if nothing is forbidden

    @property
    def nouns(self) -> tuple[str, ...]:
        """Every noun once: what is looked for without attributes."""
        return tuple(dict.fromkeys(wanted.label.noun for wanted in self.objects))

    @property
    def attributed(self) -> tuple[Label, ...]:
        """Every label with an attribute once: what is looked for with it."""
        return tuple(one.label for one in self.objects if one.label.attribute)

    def slots(self, noun: str) -> dict[Label, int]:
        """How many objects of a noun are wanted, by label."""
        return {one.label: one.count for one in self.objects if one.label.noun == noun}

    def entries(self) -> list[tuple[str, list[str | None]]]:
        """Write the objects as ``(noun, [attribute or None, one for each object])``."""
        return [
            (noun, [one.attribute for one, count in self.slots(noun).items() for _ in range(count)])
            for noun in self.nouns
        ]


def make_scene(
    entries: Iterable[tuple[str, Sequence[str | None]]], background: str, negation: str
) -> Scene:
    """Make a scene from ``(noun, [attribute or None, one for each object])``.

    White space becomes single spaces; equal labels are counted together; no background becomes
    `DEFAULT_BACKGROUND`.
    """
    counts = Counter(
        Label(_words(attribute or "") or None, _words(noun))
        for noun, attributes in entries
        for attribute in attributes
    )
    objects = tuple(Wanted(label, count) for label, count in counts.items())
    return Scene(objects, _words(background) or DEFAULT_BACKGROUND, _words(negation))


def split_label(text: str, nouns: Iterable[str]) -> Label:
    """Tell attribute and noun apart: the noun is the longest of `nouns` that the text ends in.

    A text that ends in none of them is a noun as a whole.
    """
    text = _words(text)
    ends = [noun for noun in nouns if text == noun or text.endswith(f" {noun}")]
    noun = max(ends, key=len, default=text)
    return Label(text.removesuffix(noun).strip() or None, noun)


def _words(text: str) -> str:
    return " ".join(text.split())
