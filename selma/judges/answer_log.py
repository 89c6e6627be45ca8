"""What a judge said, kept in a file while it is at work, so that a restart asks nothing twice."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core import team
from selma.core.errors import RecordError

Key = tuple[str | int, ...]


class AnswerLog:
    """JSON lines: first what the replies are about, then a key and its replies a line.

    A line that a kill cut short is dropped when the file is opened again; all others count. Each
    process of a team writes a file of its own, ``NAME.RANK.jsonl`` but for the leader's, and reads
    those of all.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Open or begin a log about all that decides a reply; RecordError if it is about other."""
        self._shared, self._path = path, _of_rank(path, team.rank())
        self._replies: dict[Key, list[str]] = {}
        self._head = json.loads(json.dumps(about, sort_keys=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self._read(self._path):
            self._append(self._head)
        self._read_others()

    def get(self, key: Key) -> list[str] | None:
        return self._replies.get(key)

    def get_all(self, keys: Sequence[Key]) -> list[list[str]] | None:
        """Look up several, also among what other processes have kept since; None if one is new."""
        if any(key not in self._replies for key in keys):
            self._read_others()
        found = [self._replies[key] for key in keys if key in self._replies]
        return found if len(found) == len(keys) else None

    def _others(self) -> list[Path]:
        stem, suffix = re.escape(self._shared.stem), re.escape(self._shared.suffix)
        files = sorted(self._shared.parent.iterdir())
        names = [path for path in files if re.fullmatch(rf"{stem}(\.\d+)?{suffix}", path.name)]
        return [path for path in names if path != self._path]

    def _read_others(self) -> None:
        for path in self._others():
            self._read(path)

    def _read(self, path: Path) -> bool:
        """Take up a file's whole lines; whether there are any."""
        kept = _whole_lines(path, own=path == self._path)
        if kept and kept[0] != self._head:
            raise RecordError(
                f"{path}: holds answers of another judge, benchmark or setting "
                f"({_difference(kept[0], self._head)}); move it away, or choose another file"
            )
        for *key, replies in kept[1:]:
            self._replies[tuple(key)] = replies
        return bool(kept)

    def put(self, key: Key, replies: Sequence[str]) -> None:
        """Keep replies; a kill after this loses nothing of them."""
        self._replies[key] = list(replies)
        self._append([*key, list(replies)])

    def _append(self, value: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(value, sort_keys=True) + "\n")


def _of_rank(path: Path, rank: int) -> Path:
    return path.with_suffix(f".{rank}{path.suffix}") if rank else path


def _whole_lines(path: Path, *, own: bool) -> list[Any]:
    """Read the lines that were written whole, and cut one's own file behind them."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if own and len(whole) < len(data):
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
