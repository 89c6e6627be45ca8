"""Looks a name up in a table of choices and says what there is when it is not there."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from selma.core.errors import ConfigError

T = TypeVar("T")


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Give ``table[name]``.

    Args:
        kind: what is chosen, for the message, e.g. "merge method".
        name: the wanted entry.
        table: all there is.

    Raises:
        ConfigError: there is no such entry; the message lists all entries.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ConfigError(f"unknown {kind} {name!r}{hint}; choose one of: {', '.join(sorted(table))}")
