"""Tables of choices: an unknown name is answered with all that there are."""

import difflib
from collections.abc import Collection, Mapping
from typing import TypeVar

from selma.core.errors import ConfigError

T = TypeVar("T")


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Look up ``table[name]``; see `choose_name`."""
    return table[choose_name(kind, name, table)]


def choose_name(kind: str, name: str, names: Collection[str]) -> str:
    """Check that a name is one of those there are, and return it; ConfigError lists all.

    `kind` says in the message what is chosen, e.g. "merge method".
    """
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ConfigError(f"unknown {kind} {name!r}{hint}; choose one of: {', '.join(sorted(names))}")
