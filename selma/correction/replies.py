"""The grammars of an LLM's replies: the scene of a prompt, the layout a picture shall have."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from selma.core.errors import ReplyError
from selma.correction.layout import Checked, check_layout
from selma.correction.literals import read_list
from selma.correction.scene import Scene, make_scene

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_NOTHING = {"", "none", "null", "n/a", "nothing", "-", "empty"}
_MARKS = " \t*_`\"'"


@dataclass(frozen=True)
class ReplyLimits:
    """What a reply may hold at most."""

    objects_max: int
    bytes_max: int


def parse_scene(reply: str, limits: ReplyLimits) -> Scene:
    """Read a parser's reply: any words, then ``Objects: [...]``, ``Background:``, ``Negation:``.

    Raises:
        ReplyError: says what is missing or wrong.
    """
    text = _within(reply, limits)
    try:
        entries, rest = _list_after("Objects", text)
        background, negation = _line_after("Background", rest), _line_after("Negation", rest)
        if background is None:
            raise ValueError("the line 'Background:' is missing after the objects")
        return check_scene(entries, background, negation, limits.objects_max)
    except ValueError as error:
        raise ReplyError(str(error), reply) from error


def parse_layout(reply: str, nouns: Iterable[str], limits: ReplyLimits) -> Checked:
    """Read a controller's reply: any words, then ``Updated Objects: [("label #k", [...]), …]``.

    `nouns` tell a label's attribute from its noun. What follows the list is not looked at.

    Raises:
        ReplyError: says what is missing or wrong, with the name of the object.
    """
    text = _within(reply, limits)
    try:
        entries, _ = _list_after("Updated Objects", text)
        return check_layout(entries, nouns, limits.objects_max)
    except ValueError as error:
        raise ReplyError(str(error), reply) from error


def check_scene(entries: Any, background: Any, negation: Any, objects_max: int) -> Scene:
    """Check the parts of a scene from an LLM or a file.

    Args:
        entries: ``[(noun, [attribute or None, one for each object]), …]``.
        background: a text, or None.
        negation: a text, or None; words like "none" are no negation.
        objects_max: how many objects are too many by one.

    Raises:
        ValueError: says what is wrong, for the one who wrote it.
    """
    for part, name in ((background, "the background"), (negation, "the negation")):
        if part is not None and not isinstance(part, str):
            raise ValueError(f"expected {name} to be a text, got {part!r:.80}")
    if not isinstance(entries, list | tuple):
        raise ValueError(f"expected a list of objects, got {entries!r:.80}")
    checked = [_object(entry) for entry in entries]
    count = sum(len(attributes) for _, attributes in checked)
    if count > objects_max:
        raise ValueError(f"{count} objects are too many; give at most {objects_max}")
    return make_scene(checked, background or "", "" if _is_nothing(negation) else negation)


def _object(entry: Any) -> tuple[str, list[str | None]]:
    if not isinstance(entry, list | tuple) or len(entry) != 2:
        raise ValueError(f"expected ('noun', [attribute or None, ...]), got {entry!r:.80}")
    noun, attributes = entry
    if not isinstance(noun, str) or not noun.strip() or "#" in noun:
        raise ValueError(f"expected a noun, got {noun!r:.80}")
    if not isinstance(attributes, list | tuple) or not attributes:
        raise ValueError(f"{noun!r}: expected one attribute or None for each object, in a list")
    for attribute in attributes:
        if attribute is not None and (not isinstance(attribute, str) or "#" in attribute):
            raise ValueError(f"{noun!r}: expected an attribute or None, got {attribute!r:.80}")
    return noun, [None if _is_nothing(attribute) else attribute for attribute in attributes]


def _is_nothing(text: str | None) -> bool:
    return text is None or text.strip(" .").lower() in _NOTHING


def _within(reply: str, limits: ReplyLimits) -> str:
    size = len(reply.encode("utf-8", "replace"))
    if size > limits.bytes_max:
        raise ReplyError(
            f"the reply has {size} bytes, more than {limits.bytes_max}; answer shorter", reply
        )
    return _THOUGHTS.sub("", reply)


def _list_after(title: str, text: str) -> tuple[list[Any], str]:
    """Read the first list behind a title that is one, and what follows it."""
    mark = r"[*_`]*"
    pattern = rf"\b{title}{mark}\s*:{mark}\s*(?:```\w*\s*)?(?=[\[(])"
    problem = ValueError(f"there is no list behind '{title}:'")
    for found in re.finditer(pattern, text, re.IGNORECASE):
        try:
            value, end = read_list(text, found.end())
            return value, text[end:]
        except ValueError as error:  # words of the reasoning
            problem = error
    raise problem


def _line_after(title: str, text: str) -> str | None:
    found = re.search(rf"\b{title}[*_`]*[ \t]*:([^\n]*)", text, re.IGNORECASE)
    return None if found is None else found[1].strip(_MARKS)
