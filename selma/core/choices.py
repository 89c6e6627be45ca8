"""Tables of choices: an unknown name is answered with all that there are."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from selma.core.errors import ConfigError

T = TypeVar("T")


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Look up a name; `kind` says in the message what is chosen, e.g. "merge method".

    Raises:
        ConfigError: there is no such entry; the message lists all entries.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ConfigError(f"unknown {kind} {name!r}{hint}; choose one of: {', '.join(sorted(table))}")
