"""Files that appear whole or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import MissingDataError, RecordError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield the name under which to write a file; it takes its place when the body succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a full disk names no file
            error.filename = str(path)
        elif error.filename is None:
            raise OSError(f"{path}: {error}") from error
        raise
    finally:
        part.unlink(missing_ok=True)


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with written_whole(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write sorted, indented JSON, whole or not at all; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_bytes_atomic(path, (text + "\n").encode())


def write_curve(path: Path, columns: Mapping[str, Sequence[float]], *, every: int = 10) -> None:
    """Write a training's curves as CSV for `dvc plots`: the mean of every few steps, 6 digits."""
    lines = [",".join(["step", *columns])]
    number = len(next(iter(columns.values())))
    for start in range(0, number, every):
        chunks = [values[start : start + every] for values in columns.values()]
        means = [f"{sum(chunk) / len(chunk):.6f}" for chunk in chunks]
        lines.append(",".join([str(min(start + every, number)), *means]))
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())


def read_text(path: Path) -> str:
    """Read a text file that a stage wrote.

    Raises:
        MissingDataError: there is no such file.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file; run `dvc pull` or `dvc repro`") from error


def read_json(path: Path) -> Any:
    """Read a JSON file that a stage wrote.

    Raises:
        MissingDataError: there is no such file.
        RecordError: it is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise RecordError(f"{path}: not valid JSON ({error}); run `dvc repro`") from error
