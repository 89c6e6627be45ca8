"""Every answered request, kept by its content, so that nothing is asked or paid for twice."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selma.core.errors import RecordError, one_line
from selma.core.shared_lines import SharedLines

TRANSCRIPT = Path(".selma/llm/transcript.jsonl")  # of a working copy


@dataclass(frozen=True)
class Reply:
    """What answered a request; tokens and USD are None where nobody counted them."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None
    usd: float | None = None


@dataclass(frozen=True)
class Request:
    """A request with all that decides its reply."""

    model: str
    parameters: str  # JSON
    text: str
    seed: int

    def key(self) -> str:
        """Its address: a hash of all of it."""
        value = json.dumps([self.model, self.parameters, self.text, self.seed])
        return hashlib.sha256(value.encode()).hexdigest()


Exchange = tuple[Request, Reply]


class Transcript:
    """Exchanges in a file to which threads and processes append; each is kept before it is used."""

    def __init__(self, path: Path, released: Callable[[], Iterable[Exchange]] = lambda: ()) -> None:
        """Name the file, which the first use begins.

        `released` gives further exchanges, when one is first missed.
        """
        self._path, self._lines, self._released = path, SharedLines(path), released
        self._kept: dict[str, Reply] = {}
        self._others: dict[str, Reply] | None = None
        self._lock = threading.Lock()

    def get(self, request: Request) -> Reply | None:
        """Look a request up, also among what other processes have kept since."""
        key = request.key()
        with self._lock:
            if key not in self._kept:
                self._lines.update(self._take, lambda: None)
            if key in self._kept:
                return self._kept[key]
            if self._others is None:
                self._others = {one.key(): reply for one, reply in self._released()}
            return self._others.get(key)

    def put(self, request: Request, reply: Reply) -> None:
        """Keep an exchange."""
        entry = {"request": asdict(request), "reply": asdict(reply)}
        with self._lock:
            self._lines.update(self._take, lambda: entry)

    def forget(self, requests: Iterable[Request]) -> None:
        """Let requests be asked again whose replies were no answers."""
        with self._lock:
            for one in requests:
                entry = {"request": asdict(one), "reply": None}
                self._lines.update(self._take, lambda entry=entry: entry)  # type: ignore[misc]

    def _take(self, entry: dict[str, Any]) -> None:
        try:
            key = Request(**entry["request"]).key()
            reply = None if entry["reply"] is None else Reply(**entry["reply"])
        except (KeyError, TypeError) as error:
            raise RecordError(
                f"{self._path}: holds a line that is no exchange with an LLM "
                f"({one_line(error)}); move it away, or name another file"
            ) from error
        self._kept.pop(key, None)
        if reply is not None:
            self._kept[key] = reply


def as_rows(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    """Make the rows of a transcript table, numbered in their order."""
    rows = []
    for number, (request, reply) in enumerate(exchanges):
        one, other = asdict(request), asdict(reply)
        texts = {"request": one.pop("text"), "reply": other.pop("text")}
        rows.append({"number": number, "total": len(exchanges), **one, **texts, **other})
    return rows


def from_rows(rows: Iterable[Mapping[str, Any]], source: str) -> list[Exchange]:
    """Read the rows of a transcript table; RecordError names its file if some are missing."""
    rows = list(rows)
    total = max((row["total"] for row in rows), default=0)
    missing = sorted(set(range(total)) - {row["number"] for row in rows})
    if missing:
        raise RecordError(
            f"{source}: {len(missing)} of {total} exchanges are missing, the numbers "
            f"{', '.join(map(str, missing[:20]))}{', …' * (len(missing) > 20)}; pull it anew"
        )
    exchanges = []
    for row in rows:
        request = Request(row["model"], row["parameters"], row["request"], row["seed"])
        names = ("finish_reason", "prompt_tokens", "reply_tokens", "usd")
        exchanges.append((request, Reply(row["reply"], *(row[name] for name in names))))
    return exchanges
