"""Answers kept in a file while a judge is at work, so that a restart asks nothing twice."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import RecordError


class AnswerLog:
    """JSON lines: first what the answers are about, then one picture's answers a line.

    A line that a kill cut short is dropped when the file is opened again; all others count.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Open or begin a log.

        Args:
            path: the file; its folder is made.
            about: judge, its settings and the benchmark; answers to other questions or of another
                judge are never taken up.

        Raises:
            RecordError: the file is about something else.
        """
        self._path = path
        self._answers: dict[tuple[str, int, str], list[str]] = {}
        head = json.loads(json.dumps(about, sort_keys=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = _whole_lines(path)
        if kept and json.loads(kept[0]) != head:
            raise RecordError(
                f"{path}: holds answers of another judge, benchmark or setting "
                f"({_difference(json.loads(kept[0]), head)}); choose another file"
            )
        for line in kept[1:]:
            item_id, sample, sha256, answers = json.loads(line)
            self._answers[item_id, sample, sha256] = answers
        if not kept:
            self._append(head)

    def get(self, item_id: str, sample: int, sha256: str) -> list[str] | None:
        """Give the answers about a picture that were kept, in the order of its questions."""
        return self._answers.get((item_id, sample, sha256))

    def put(self, item_id: str, sample: int, sha256: str, answers: Sequence[str]) -> None:
        """Keep the answers about a picture; a kill after this loses nothing of them."""
        self._answers[item_id, sample, sha256] = list(answers)
        self._append([item_id, sample, sha256, list(answers)])

    def _append(self, value: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(value, sort_keys=True) + "\n")


def _whole_lines(path: Path) -> list[str]:
    """Give the lines that were written whole, and cut the file behind them."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    lines = whole.decode("utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line)
        except ValueError as error:
            raise RecordError(
                f"{path}:{number}: not JSON ({error}); choose another file"
            ) from error
    return lines


def _difference(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    names = sorted(set(kept) | set(wanted))
    return ", ".join(
        f"{name}: {kept.get(name)!r} there, {wanted.get(name)!r} now"
        for name in names
        if kept.get(name) != wanted.get(name)
    )
