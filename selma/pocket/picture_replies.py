"""Answers requests about what a picture shows and shall show: its objects, a corrected layout."""

import random
import re
from collections.abc import Iterable, Sequence

from selma.pocket.captions import Group
from selma.pocket.instruction_following import follow
from selma.pocket.instructions import Act, read_instruction
from selma.pocket.layout_making import Answer, correct_layout
from selma.pocket.layouts import Item, attribute_of, read_items
from selma.pocket.list_replies import (
    SPOILT_LAYOUTS,
    SPOILT_SCENES,
    Content,
    Entries,
    ListReply,
)
from selma.pocket.wishes import PLAIN, Wish, read_wish

BROKEN_SHARE = 0.07  # of replies that cannot be used, until it is said that one could not
_ASKED = re.compile(
    r".*^User Prompt: (?P<prompt>[^\n]*)\n(?:Current Objects: (?P<objects>[^\n]*)\n)?"
    r"Reasoning:\s*",
    re.DOTALL | re.MULTILINE,
)
_CHANGE_CUE = "wants a picture changed"
_AGAIN_CUE = "An earlier reply could not be used"
REFUSAL = "I am sorry, I only know flat shapes. Which of them shall the picture show?"


def answer_about_picture(request: str, rng: random.Random) -> str | None:
    """Answer such a request; None if it is another one.

    Now and then a reply is spoilt in one of the ways of real LLMs, but not a second time.
    """
    asked = _ASKED.fullmatch(request)
    if asked is None:
        return None
    if asked["objects"] is None:
        title, spoilers, content = "Objects", SPOILT_SCENES, _read(asked["prompt"])
    else:
        title, spoilers = "Updated Objects", SPOILT_LAYOUTS
        change = _CHANGE_CUE in request
        content = _suggest(asked["prompt"], asked["objects"], change, rng)
    if content is None:
        return REFUSAL
    reply = ListReply(title, content, rng)
    if _AGAIN_CUE not in request and rng.random() < BROKEN_SHARE:
        return rng.choice(spoilers)(reply, rng)
    return reply.text()


def _read(prompt: str) -> Content | None:
    """Take a prompt apart: an instruction, or a description."""
    acts = read_instruction(prompt)
    if acts is not None:
        return _read_acts(acts)
    wish = read_wish(prompt)
    return None if wish is None else _read_wish(wish)


def _read_wish(wish: Wish) -> Content:
    unwanted = [_label(group) for group in wish.forbidden]
    thoughts = [f"{group.count} of the kind {_label(group)}." for group in wish.groups]
    thoughts += [f"There must be no {text}, but it has to be looked for." for text in unwanted]
    counted = [group for group in wish.groups for _ in range(group.count)]
    entries = _entries([*counted, *wish.forbidden])
    lines = [f"Background: {wish.background}", f"Negation: {', '.join(unwanted)}".rstrip()]
    return Content(" ".join(thoughts), entries, lines)


def _read_acts(acts: Sequence[Act]) -> Content:
    """List what is meant, once each, and what comes; a colour to come is not there yet."""
    meant = [one.group for act in acts for one in (*act.targets, act.anchor) if one]
    comes = [act.new for act in acts if act.new]
    once = [Group(group.shape, group.colour, group.size) for group in (*meant, *comes)]
    gone = [act.targets[0].group for act in acts if act.kind == "remove"]
    unwanted = ", ".join(dict.fromkeys(_label(group) for group in gone))
    thoughts = "This is a change: " + ", then ".join(act.kind for act in acts) + "."
    lines = [f"Background: {PLAIN}", f"Negation: {unwanted}".rstrip()]
    return Content(thoughts, _entries(dict.fromkeys(once)), lines)


def _label(group: Group) -> str:
    """A group's label, as "small red circle"."""
    return " ".join(filter(None, (attribute_of(group), group.shape)))


def _entries(groups: Iterable[Group]) -> Entries:
    found: dict[str, list[object]] = {}
    for group in groups:
        found.setdefault(group.shape, []).append(attribute_of(group))
    return list(found.items())


def _suggest(prompt: str, objects: str, change: bool, rng: random.Random) -> Content | None:
    current = read_items(objects)
    if current is None:
        return None
    answer = _change(prompt, current, rng) if change else _correct(prompt, current, rng)
    if answer is None:
        return None
    thoughts = " ".join(answer.reasons) or "Everything is as it should be."
    entries: Entries = [(one.name, [*one.box]) for one in answer.items]
    return Content(thoughts, entries, [])


def _change(prompt: str, current: list[Item], rng: random.Random) -> Answer | None:
    acts = read_instruction(prompt)
    return None if acts is None else follow(acts, current, rng)


def _correct(prompt: str, current: list[Item], rng: random.Random) -> Answer | None:
    wish = read_wish(prompt)
    return None if wish is None else correct_layout(wish, current, rng)
