"""The question language: what a question's text means, and its answer when truth is known."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from selma.core.errors import RecordError
from selma.pocket.captions import (
    COUNT_WORDS,
    RELATION_OF_PHRASE,
    SHAPE_OF_NAME,
    SIZE_OF_WORD,
    any_of,
)
from selma.pocket.scenes import BACKGROUNDS, COLOURS, SceneObject, holds

UNKNOWN = "unknown"  # what a picture shows is none of the choices, or there is no single answer
YES_NO = ("yes", "no")
Objects = Sequence[SceneObject]


@dataclass(frozen=True)
class Noun:
    """Which objects a question is about; None fits all."""

    shape: str | None
    colour: str | None = None
    size: str | None = None

    def pick(self, objects: Iterable[SceneObject]) -> list[SceneObject]:
        wanted = {name: value for name, value in vars(self).items() if value is not None}
        return [item for item in objects if wanted.items() <= vars(item).items()]


@dataclass(frozen=True)
class Query:
    """A question text, understood."""

    kind: str  # a key of ``ANSWERS``
    subject: Noun = Noun(None)
    value: str = ""  # the colour, size, number, relation or background that the question proposes
    other: Noun = Noun(None)  # of a relation
    every: bool = False  # it is about all of several ("Are the stars red?")


_NUMBERS = {word: str(number) for number, word in COUNT_WORDS.items()} | {"no": "0", "zero": "0"}
_MEANINGS = SIZE_OF_WORD | RELATION_OF_PHRASE | _NUMBERS
_KIND = any_of([*SHAPE_OF_NAME, "object", "objects"])
_NOUN = rf"(?:(?:{any_of(SIZE_OF_WORD)} )?(?:{any_of(COLOURS)} )?{_KIND})"
_WHERE = any_of(RELATION_OF_PHRASE)
_COLOUR, _SIZE, _NUMBER = any_of(COLOURS), any_of(SIZE_OF_WORD), rf"(?:\d+|{any_of(_NUMBERS)})"
_FORMS = [
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("presence", rf"is there an? (?P<subject>{_NOUN})"),
        ("presence", rf"are there (?:any )?(?P<subject>{_NOUN})"),
        ("count", rf"(?:is|are) there (?:exactly )?(?P<value>{_NUMBER}) (?P<subject>{_NOUN})"),
        ("colour", rf"(?P<verb>is|are) the (?P<subject>{_NOUN}) (?P<value>{_COLOUR})"),
        ("size", rf"(?P<verb>is|are) the (?P<subject>{_NOUN}) (?P<value>{_SIZE})"),
        ("relation", rf"is the (?P<subject>{_NOUN}) (?P<value>{_WHERE}) the (?P<other>{_NOUN})"),
        ("background", rf"is the background (?P<value>{any_of(BACKGROUNDS)})"),
        ("which colour", rf"what colou?r (?:is|are) the (?P<subject>{_NOUN})"),
        ("which size", rf"what size (?:is|are) the (?P<subject>{_NOUN})"),
        ("which shape", rf"(?:which|what) shape is (?P<subject>(?:{_SIZE} )?{_COLOUR}|{_SIZE})"),
        ("how many", rf"how many (?P<subject>{_NOUN}) are there"),
        ("where", rf"where is the (?P<subject>{_NOUN}) relative to the (?P<other>{_NOUN})"),
        ("which background", r"what colou?r is the background"),
    )
]


def parse_question(text: str) -> Query:
    """Understand a question's text, whatever its case and white space; RecordError if it cannot."""
    plain = " ".join(text.lower().rstrip(" ?").split())
    for kind, pattern in _FORMS:
        match = pattern.fullmatch(plain)
        if match:
            parts = match.groupdict()
            value = parts.get("value") or ""
            value = _MEANINGS.get(value, value)
            subject, other = _noun(parts.get("subject")), _noun(parts.get("other"))
            return Query(kind, subject, value, other, parts.get("verb") == "are")
    raise RecordError(
        f"question {text!r} is not in the pocket world's question language; ask for example "
        "'Is there a circle?', 'Is the circle red?' or 'How many stars are there?'"
    )


def _noun(text: str | None) -> Noun:
    words = (text or "").split()
    shapes = (SHAPE_OF_NAME[word] for word in words if word in SHAPE_OF_NAME)
    colours = (word for word in words if word in COLOURS)
    sizes = (SIZE_OF_WORD[word] for word in words if word in SIZE_OF_WORD)
    return Noun(next(shapes, None), next(colours, None), next(sizes, None))


def answer_query(query: Query, choices: Sequence[str], background: str, objects: Objects) -> str:
    """Answer from what is in the picture; used with a scene it is the truth.

    Yes/no: "the circle is red" holds if any circle is red, "the stars are red" if there are stars
    and all are red, a relation if any pair stands in it (`scenes.holds`). Open questions give the
    most frequent value; a tie, nothing to ask about, or a value outside `choices` (empty allows
    any) is "unknown", as `background` may be.
    """
    answer = ANSWERS[query.kind](query, background, objects)
    return answer if not choices or answer in choices else UNKNOWN


def _attribute(name: str, query: Query, _background: str, objects: Objects) -> str:
    values = [getattr(item, name) == query.value for item in query.subject.pick(objects)]
    return _yes(bool(values) and (all(values) if query.every else any(values)))


def _most_frequent(name: str, query: Query, _background: str, objects: Objects) -> str:
    return _mode(getattr(item, name) for item in query.subject.pick(objects))


def _relation(query: Query, _background: str, objects: Objects) -> str:
    pairs = _pairs(query, objects)
    return _yes(any(holds(query.value, (a.x, a.y), (b.x, b.y)) for a, b in pairs))


def _where(query: Query, _background: str, objects: Objects) -> str:
    return _mode(_direction(a.x - b.x, a.y - b.y) for a, b in _pairs(query, objects))


def _direction(dx: float, dy: float) -> str:
    if abs(dx) > abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def _pairs(query: Query, objects: Objects) -> list[tuple[SceneObject, SceneObject]]:
    others = query.other.pick(objects)
    return [(a, b) for a in query.subject.pick(objects) for b in others if a is not b]


def _mode(values: Iterable[str]) -> str:
    ranked = Counter(values).most_common(2)
    tied = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return ranked[0][0] if ranked and not tied else UNKNOWN


def _yes(value: bool) -> str:
    return "yes" if value else "no"


ANSWERS: dict[str, Callable[[Query, str, Objects], str]] = {
    "presence": lambda query, _, objects: _yes(bool(query.subject.pick(objects))),
    "count": lambda query, _, objects: _yes(str(len(query.subject.pick(objects))) == query.value),
    "colour": partial(_attribute, "colour"),
    "size": partial(_attribute, "size"),
    "relation": _relation,
    "background": lambda query, background, _: _yes(background == query.value),
    "which colour": partial(_most_frequent, "colour"),
    "which size": partial(_most_frequent, "size"),
    "which shape": partial(_most_frequent, "shape"),
    "how many": lambda query, _, objects: str(len(query.subject.pick(objects))),
    "where": _where,
    "which background": lambda _query, background, _: background,
}
