"""What a judge said, kept in a file while it is at work, so that a restart asks nothing twice."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import RecordError

Key = tuple[str | int, ...]


class AnswerLog:
    """JSON lines: first what the replies are about, then a key and its replies a line.

    A line that a kill cut short is dropped when the file is opened again; all others count.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Open or begin a log about all that decides a reply; RecordError if it is about other."""
        self._path = path
        self._replies: dict[Key, list[str]] = {}
        head = json.loads(json.dumps(about, sort_keys=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _whole_lines(path)
        if kept and kept[0] != head:
            raise RecordError(
                f"{path}: holds answers of another judge, benchmark or setting "
                f"({_difference(kept[0], head)}); move it away, or choose another file"
            )
        for *key, replies in kept[1:]:
            self._replies[tuple(key)] = replies
        if not kept:
            self._append(head)

    def get(self, key: Key) -> list[str] | None:
        return self._replies.get(key)

    def put(self, key: Key, replies: Sequence[str]) -> None:
        """Keep replies; a kill after this loses nothing of them."""
        self._replies[key] = list(replies)
        self._append([*key, list(replies)])

    def _append(self, value: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(value, sort_keys=True) + "\n")


def _whole_lines(path: Path) -> list[Any]:
    """Read the lines that were written whole, and cut the file behind them."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    values = []
    for number, line in enumerate(whole.decode("utf-8").splitlines(), start=1):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            raise RecordError(
                f"{path}:{number}: not JSON ({error}); move the file away to begin a new one"
            ) from error
    return values


def _difference(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}: {kept.get(name)!r} there, {wanted.get(name)!r} now"
        for name in sorted(set(kept) | set(wanted))
        if kept.get(name) != wanted.get(name)
    )
