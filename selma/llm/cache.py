"""Replies on disk, so that a restart asks for nothing twice and goes on in the same words."""

import hashlib
import json
import os
from pathlib import Path

from selma.core.errors import RecordError
from selma.llm.generators import TextGenerator


class CachedGenerator:
    """A generator that keeps its replies as JSON lines, each on the disk before it is used."""

    def __init__(self, generator: TextGenerator, path: Path, identity: dict[str, object]) -> None:
        """Open the file, which one process at a time writes, or start it.

        `identity` is all that decides a reply beside request and seed: backend, model, revision,
        temperature. RecordError if a line is not a reply; a last line that a killed process left
        unfinished is cut off.
        """
        self._generator, self._path, self._identity = generator, path, identity
        self._replies = _read(path)

    def generate(self, request: str, *, seed: int) -> str:
        """Return the stored reply, or ask and store."""
        value = json.dumps([self._identity, request, seed], sort_keys=True)
        key = hashlib.sha256(value.encode()).hexdigest()
        if key not in self._replies:
            reply = self._generator.generate(request, seed=seed)
            with self._path.open("ab") as handle:
                handle.write(json.dumps({"key": key, "reply": reply}).encode() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
            self._replies[key] = reply
        return self._replies[key]


def _read(path: Path) -> dict[str, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.read_bytes() if path.exists() else b""
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    replies = {}
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            entry = json.loads(line)
            replies[str(entry["key"])] = str(entry["reply"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"{path}:{number}: not a stored reply ({type(error).__name__}); "
                "run a stage with SELMA_FRESH=1, or name another file to a command"
            ) from error
    return replies
