"""Reads instructions that change a picture: "make the red circle blue and remove the square"."""

import re
from dataclasses import dataclass, replace

from selma.pocket.captions import RELATION_OF_PHRASE, Group, any_of, plural
from selma.pocket.scenes import COLOURS, SHAPES
from selma.pocket.wishes import COUNTS, SIDES, THING, thing_of

_SIDE_OF_WORD = {
    **{side: side for side in SIDES}, "leftmost": "left", "rightmost": "right", "upper": "top",
    "lower": "bottom", "up": "top", "down": "bottom", "upward": "top", "downward": "bottom",
}  # fmt: skip
_GROWTH = {
    **dict.fromkeys(("larger", "bigger", "large", "big"), "large"),
    **dict.fromkeys(("smaller", "small", "little"), "small"),
    "enlarge": "large",
    "shrink": "small",
}
_NUMBERS = {"a": 1, "an": 1, "another": 1, **COUNTS}
_PLURALS = {plural(shape) for shape in SHAPES}


@dataclass(frozen=True)
class Target:
    """Which objects of a picture are meant."""

    group: Group
    side: str | None  # of `SIDES`, where it is among its like
    all: bool


@dataclass(frozen=True)
class Act:
    """One change; what it does not need is None or 1."""

    kind: str  # of `FORMS`
    targets: tuple[Target, ...]  # swap: two; add: none
    new: Group | None = None  # add, replace: what comes, and how often
    value: str | None = None  # recolour: the colour; resize: the size
    side: str | None = None  # add, move: of `SIDES`, or "middle"
    relation: str | None = None  # add, move: to `anchor`
    anchor: Target | None = None
    slightly: bool = False


def read_instruction(prompt: str) -> tuple[Act, ...] | None:
    """Understand what is to be changed; None if a part of it is no change of this world."""
    text = " ".join(prompt.lower().split()).removesuffix(".").removeprefix("please ")
    acts = [_read(clause) for clause in _CLAUSES.split(text) if not _KEEP.match(clause)]
    return tuple(act for act in acts if act) if acts and None not in acts else None


def _target(name: str) -> str:
    return (
        rf"(?:(?P<{name}_all>all(?: the)?|both|every|the two) |the |an? )?"
        rf"(?:(?P<{name}_before>{any_of(_SIDE_OF_WORD)}) )?(?P<{name}>{THING})"
        rf"(?: (?:on|at) the (?P<{name}_after>{any_of(SIDES)}))?"
    )


_SIZE = any_of(_GROWTH)
_COLOUR = rf"(?P<colour>{any_of(COLOURS)})"
_NEW = rf"(?P<number>{any_of(_NUMBERS)}) (?P<new>{THING})"
_WHERE = (
    rf" (?:(?P<relation>{any_of(RELATION_OF_PHRASE)}) {_target('anchor')}"
    rf"|(?:(?:to|on|at|in|into) the )?(?P<side>middle|center|centre|{any_of(_SIDE_OF_WORD)}))"
)
_ONE, _OTHER = _target("target"), _target("other")
FORMS: dict[str, tuple[str, ...]] = {
    "recolour": (
        rf"(?:make|paint|colou?r|turn) {_ONE} {_COLOUR}",
        rf"change the colou?r of {_ONE} to {_COLOUR}",
    ),
    "resize": (rf"make {_ONE} (?P<size>{_SIZE})", rf"(?P<size>enlarge|shrink) {_ONE}"),
    "remove": (rf"(?:remove|delete|erase|take away) {_ONE}",),
    "replace": (
        rf"replace {_ONE} (?:with|by) {_NEW}",
        rf"(?:turn|change|make) {_ONE} into {_NEW}",
    ),
    "add": (rf"(?:add|insert|draw|put|place) {_NEW}(?:{_WHERE})?",),
    "move": (rf"(?:move|shift|put|place) {_ONE}(?P<slightly> slightly| a little)?{_WHERE}",),
    "swap": (
        rf"(?:swap|exchange|switch) (?:the (?:positions?|places) of )?{_ONE} (?:and|with) {_OTHER}",
        rf"let {_ONE} and {_OTHER} (?:change|swap|exchange) places",
    ),
}
_FORMS = [(kind, re.compile(form)) for kind, forms in FORMS.items() for form in forms]
_VERBS = (
    "(?:make|paint|colou?r|turn|change|remove|delete|erase|take|add|insert|draw|put|place|move"
    "|shift|swap|exchange|switch|let|replace|enlarge|shrink|keep|leave)"
)
_CLAUSES = re.compile(rf"(?:[,;.]? (?:and then|then|and)|[,;.]) (?={_VERBS}\b)")
_KEEP = re.compile(r"(?:keep|leave)\b")


def _read(clause: str) -> Act | None:
    found = ((kind, form.fullmatch(clause)) for kind, form in _FORMS)
    return next((_act(kind, match) for kind, match in found if match), None)


def _act(kind: str, found: re.Match[str]) -> Act:
    said = {name: text for name, text in found.groupdict().items() if text}
    targets = tuple(_read_target(said, name) for name in ("target", "other") if name in said)
    new = thing_of(said["new"], _NUMBERS[said["number"]]) if "new" in said else None
    if kind == "replace" and new and _is_recoloured(new, targets[0].group):
        return Act("recolour", targets, value=new.colour)
    return Act(
        kind, targets, new,
        value=said.get("colour") or _GROWTH.get(said.get("size", "")),
        side=_SIDE_OF_WORD.get(said["side"], "middle") if "side" in said else None,
        relation=RELATION_OF_PHRASE[said["relation"]] if "relation" in said else None,
        anchor=_read_target(said, "anchor") if "anchor" in said else None,
        slightly="slightly" in said,
    )  # fmt: skip


def _is_recoloured(new: Group, old: Group) -> bool:
    """Whether "a blue circle" in place of "the circle" is the same one in another colour."""
    return new.colour is not None and new == replace(old, colour=new.colour)


def _read_target(said: dict[str, str], name: str) -> Target:
    words = said[name]
    side = said.get(f"{name}_before") or said.get(f"{name}_after")
    several = f"{name}_all" in said or words.split()[-1] in _PLURALS
    return Target(thing_of(words), _SIDE_OF_WORD[side] if side else None, several)
