"""A file of JSON lines to which threads and processes append, and that a kill leaves whole."""

import fcntl
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class SharedLines:
    """Appends entries and hands over what others have appended; each is on the disk at once."""

    def __init__(self, path: Path) -> None:
        """Name the file, which the first use begins."""
        self._path, self._read_to = path, 0
        self._lock = threading.Lock()

    def update(
        self, take: Callable[[Any], None], make: Callable[[], Mapping[str, Any] | None]
    ) -> bool:
        """Give `take` the entries since the last time, then append what `make` returns, if any.

        Nobody else appends in between. `take` gets the new entry, too; of the rest of a line whose
        writer was killed it hears nothing. Returns whether there was something to append.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self._path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._hand_over(file.fileno(), take)
            entry = make()
            if entry is None:
                return False
            line = json.dumps(entry).encode() + b"\n"
            if self._read_to < os.fstat(file.fileno()).st_size:
                line = b"\n" + line  # ends the rest of a line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
            self._hand_over(file.fileno(), take)
            return True

    def _hand_over(self, file: int, take: Callable[[Any], None]) -> None:
        data = os.pread(file, os.fstat(file).st_size - self._read_to, self._read_to)
        whole = data.rfind(b"\n") + 1
        self._read_to += whole
        for line in data[:whole].splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            take(entry)
