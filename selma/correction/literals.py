"""Reads lists of texts and numbers as LLMs write them, in Python's or JSON's way; runs nothing."""

import re
from typing import Any

_DEPTH_MAX = 6
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>[\[(]) | (?P<close>[\])]) | (?P<comma>,)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?)(?![\w.])
      | (?P<none>None|null)\b
    )""",
    re.VERBOSE,
)
_PAIRS = {"[": "]", "(": ")"}


def read_list(text: str, start: int) -> tuple[list[Any], int]:
    """Read the list that opens at a place of a text, and where it ends.

    Known are lists and tuples, texts in either quotes, numbers, None and null. Commas may end a
    list. Nothing is evaluated.

    Raises:
        ValueError: says what was found in place of a value.
    """
    value, end = _value(text, start, 0)
    if not isinstance(value, list):
        raise ValueError(f"expected a list, found {_found(text, start)}")
    return value, end


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    token = _TOKEN.match(text, at)
    if token is None or token["close"] or token["comma"]:
        raise ValueError(f"expected a text, a number, None or a list, found {_found(text, at)}")
    if token["open"]:
        if depth == _DEPTH_MAX:
            raise ValueError("lists in lists in lists are too deep")
        return _items(text, token.end(), _PAIRS[token["open"]], depth + 1)
    if token["text"] is not None:
        return re.sub(r"\\(.)", r"\1", token["text"][1:-1]), token.end()
    if token["number"] is not None:
        return float(token["number"]), token.end()
    return None, token.end()


def _items(text: str, at: int, closing: str, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while True:
        token = _TOKEN.match(text, at)
        if token is not None and token["close"]:
            if token["close"] != closing:
                raise ValueError(f"expected {closing!r}, found {_found(text, at)}")
            return items, token.end()
        value, at = _value(text, at, depth)
        items.append(value)
        token = _TOKEN.match(text, at)
        if token is not None and token["comma"]:
            at = token.end()
        elif token is None or not token["close"]:
            raise ValueError(f"expected ',' or {closing!r}, found {_found(text, at)}")


def _found(text: str, at: int) -> str:
    rest = " ".join(text[at : at + 80].split())[:30]
    return repr(rest) if rest else "the end"
