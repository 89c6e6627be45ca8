"""What a caption says (a Description) and the grammar that says it in several forms."""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from selma.pocket.scenes import BACKGROUNDS, COLOURS, RADII_PX, SHAPES, Scene, Thing, build_scene

COUNT_WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}
SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
RELATION_PHRASES = {
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
SIZE_OF_WORD = {word: size for size, words in SIZE_WORDS.items() for word in words}
RELATION_OF_PHRASE = {phrase: name for name, said in RELATION_PHRASES.items() for phrase in said}


def any_of(words: Iterable[str]) -> str:
    """A regular expression for any of the words, the longest that fits."""
    return "(?:" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + ")"


@dataclass(frozen=True)
class Group:
    """`count` objects alike in what is said about them; None is left unsaid."""

    shape: str
    colour: str | None = None
    size: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Link:
    """Group `first` stands in `relation` to group `second`; both groups have one object."""

    first: int
    relation: str
    second: int


@dataclass(frozen=True)
class Description:
    """The meaning of a caption or prompt."""

    groups: tuple[Group, ...]
    links: tuple[Link, ...] = ()
    background: str | None = None


Writer = Callable[[Description, random.Random], str]


def realise(description: Description, rng: random.Random) -> Scene | None:
    """Make a scene that the description fits; what is unsaid is drawn evenly. None if no room."""
    things, starts = list[Thing](), list[int]()
    for group in description.groups:
        starts.append(len(things))
        colour = group.colour or rng.choice(list(COLOURS))
        size = group.size or rng.choice(list(RADII_PX))
        things += [Thing(group.shape, colour, size)] * group.count
    relations = [(starts[k.first], k.relation, starts[k.second]) for k in description.links]
    background = description.background or rng.choice(list(BACKGROUNDS))
    return build_scene(background, things, rng, relations)


def plural(shape: str) -> str:
    return shape + ("es" if shape.endswith("s") else "s")


def noun_of(group: Group) -> str:
    return plural(group.shape) if group.count > 1 else group.shape


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def phrase(group: Group, rng: random.Random) -> str:
    """Say a group: "a small red circle", "three red circles", "3 red circles"."""
    size = rng.choice(SIZE_WORDS[group.size]) if group.size else None
    name = " ".join(filter(None, (size, group.colour, noun_of(group))))
    if group.count == 1:
        return article(name)
    number = str(group.count) if rng.random() < 0.2 else COUNT_WORDS[group.count]
    return f"{number} {name}"


def join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _with_background(text: str, background: str | None, rng: random.Random) -> str:
    if background is None:
        return text
    form = rng.choice(("{} on a {} background", "{} against a {} background", "{}, {} background"))
    return form.format(text, background)


def _one_sentence(*forms: str, pair_forms: Sequence[str] = ()) -> Writer:
    """Make a writer of one sentence; `pair_forms`, if any, join what is said of two groups."""

    def write(description: Description, rng: random.Random) -> str:
        parts = [phrase(group, rng) for group in description.groups]
        text = rng.choice(pair_forms).format(*parts) if pair_forms and len(parts) == 2 else None
        text = rng.choice(forms).format(text or join(parts))
        return _with_background(text, description.background, rng)

    return write


def write_attributes(description: Description, rng: random.Random) -> str:
    """Write a list of things and style words, as prompts of image generators do."""
    parts = [phrase(group, rng) for group in description.groups]
    if description.background:
        parts.append(f"{description.background} background")
    styles = ("flat design", "clean edges", "vector art", "minimal", "simple shapes", "icon style")
    return ", ".join(parts + rng.sample(styles, rng.randint(0, 2)))


_SPATIAL_FORMS = (
    "{first} {where} {second}",
    "{first} is {where} {second}",
    "a picture of {first} {where} {second}",
    "{first} placed {where} {second}",
    "{second} with {first} {where} it",
)


def write_spatial(description: Description, rng: random.Random) -> str:
    """Write where two things stand to each other; needs exactly one link between two groups."""
    link = description.links[0]
    first = phrase(description.groups[link.first], rng)
    second = phrase(description.groups[link.second], rng)
    where = rng.choice(RELATION_PHRASES[link.relation])
    text = rng.choice(_SPATIAL_FORMS).format(first=first, where=where, second=second)
    return _with_background(text, description.background, rng)


def write_paragraph(description: Description, rng: random.Random) -> str:
    """Write several sentences that walk through the picture; links say where to look."""
    opening = rng.choice(("in this picture we can see", "this image shows", "here we can see"))
    groups = description.groups
    linked = {link.first: link for link in description.links}
    sentences = [f"{opening} {phrase(groups[0], rng)}."]
    for index, group in enumerate(groups[1:], start=1):
        if index in linked:
            anchor = groups[linked[index].second]
            name = " ".join(filter(None, (anchor.colour, anchor.shape)))
            start = f"{RELATION_PHRASES[linked[index].relation][0]} the {name} there is"
        else:
            verb = "is" if group.count == 1 else "are"
            start = rng.choice((f"there {verb} also", f"there {verb}", "we can also see"))
        sentences.append(f"{start} {phrase(group, rng)}.")
    if description.background:
        form = rng.choice(("the background is {}.", "behind it the background is {}."))
        sentences.append(form.format(description.background))
    return " ".join(sentences)


_UNUSUAL = ("an unusual picture of {}", "a strange scene with {}", "a surprising scene: {}")
WRITERS: dict[str, Writer] = {
    "paragraph": write_paragraph,
    "count": _one_sentence(
        "{}", "a picture of {}", "image showing {}", "exactly {}", "a set of {}", "{} in a picture"
    ),
    "attributes": write_attributes,
    "counterfactual": _one_sentence("{}", *_UNUSUAL, "imagine {}"),
    "common": _one_sentence(
        *("{}", "a picture of {}", "there is {}", "we see {}", "a drawing of {}"),
        pair_forms=("{} and {}", "{} next to {}", "{} with {}", "{} beside {}"),
    ),
    "spatial": write_spatial,
}
SHAPE_OF_NAME = {name: shape for shape in SHAPES for name in (shape, plural(shape))}
