"""Pairs of a picture and its caption that a user brings: a folder or a Parquet file of them.

A folder holds pictures with a text file of the same name beside each, or, as Hugging Face's
ImageFolder, one captions file: `metadata.csv` or `metadata.jsonl` with a `file_name` and a `text`,
`caption` or `prompt`. A Parquet file has a column `image` (encoded bytes, or Hugging Face's
`Image`) and one of these names.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from selma.core.errors import MissingDataError, RecordError, one_line
from selma.pictures.folder import SUFFIXES, pixels_of

CAPTION_NAMES = ("text", "caption", "prompt")
CAPTION_FILES = ("metadata.csv", "metadata.jsonl")
SHOWN = 20  # names of a kind in a message


@dataclass(frozen=True)
class Pair:
    """A caption and its picture (H, W, 3); `name` is the file's, or the row's."""

    name: str
    caption: str
    picture: NDArray[np.uint8]


Captions = Mapping[str, Sequence[str]]  # by name of the picture; more than one is too many
Open = Callable[[str], Any]  # by name of the picture: what `Image.open` takes


def read_folder(folder: Path, size_px: int | None) -> list[Pair]:
    """Read a folder with its subfolders, sorted by name; see the module.

    Args:
        folder: of pictures.
        size_px: pictures are cut to their central square and resized to it; None leaves them.

    Raises:
        MissingDataError: there is no such folder.
        RecordError: a picture has no caption or several, a caption no picture, two pictures or two
            captions are the same, or a picture cannot be read: all are named at once.
    """
    if not folder.is_dir():
        raise MissingDataError(f"{folder}: no such folder; put a skill's pictures there, by name")
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    files = {name: path for name, path in files.items() if "/." not in f"/{name}"}
    pictures = [name for name, path in files.items() if path.suffix.lower() in SUFFIXES[:-1]]
    listed = [files[name] for name in CAPTION_FILES if name in files]
    captions: dict[str, list[str]] = {}
    for path in listed:
        for name, text in _captions_of(path):
            captions.setdefault(name, []).append(text)
    by_stem = {name.rpartition(".")[0]: name for name in pictures}
    for name, path in files.items():
        if path.suffix.lower() == ".txt":
            own = by_stem.get(name.rpartition(".")[0], name)
            captions.setdefault(own, []).append(_text_of(path))
    return _checked(str(folder), pictures, captions, lambda name: files[name], size_px)


def read_parquet(path: Path, size_px: int | None) -> list[Pair]:
    """Read a Parquet file, as `read_folder` in all else; a pair's name is its row's number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; put a skill's pictures and captions there")
    try:
        columns = pq.read_schema(path).names
        column = _caption_column(str(path), columns, needed="image")
        rows = pq.read_table(path, columns=["image", column]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path}: cannot be read as Parquet ({one_line(error)})") from error
    named = {f"row {number}": row for number, row in enumerate(rows)}
    captions = {name: [row[column] or ""] for name, row in named.items()}
    for name, (caption,) in captions.items():
        if not isinstance(caption, str):
            raise RecordError(f"{path}: {name}: expected a text {column}, got {caption!r:.60}")

    def opened(name: str) -> io.BytesIO:
        image = named[name]["image"]
        return io.BytesIO(image["bytes"] if isinstance(image, dict) else image)

    return _checked(str(path), list(named), captions, opened, size_px)


def _checked(
    where: str, names: Sequence[str], captions: Captions, opened: Open, size_px: int | None
) -> list[Pair]:
    """Join pictures to captions; what is wrong with any of them is told in one line."""
    texts = {name: [" ".join(text.split()) for text in captions.get(name, ())] for name in names}
    pictures, unreadable = {}, []
    for name in names:
        try:
            with Image.open(opened(name)) as picture:
                pictures[name] = fitted(pixels_of(picture), size_px)
        except Exception as error:  # decoders raise nearly anything for a broken file
            unreadable.append(f"{name}: {one_line(error)}")
    marks = {n: hashlib.sha256(repr(p.shape).encode() + p.tobytes()) for n, p in pictures.items()}
    problems = {
        "without a caption": [name for name, own in texts.items() if not any(own)],
        "with several captions": [name for name, own in texts.items() if len(own) > 1],
        "captions without a picture": sorted(set(captions) - set(names)),
        "with the caption of another": _alike({n: own[0] for n, own in texts.items() if any(own)}),
        "the same as another": _alike({name: mark.hexdigest() for name, mark in marks.items()}),
        "that cannot be read": unreadable,
    }
    if not names:
        raise RecordError(f"{where}: holds no picture; expected {', '.join(SUFFIXES[:-1])}")
    told = [f"{len(of)} {kind} ({_some(of)})" for kind, of in problems.items() if of]
    if told:
        raise RecordError(f"{where}: of {len(names)} pictures: {'; '.join(told)}; mend them")
    return [Pair(name, texts[name][0], pictures[name]) for name in sorted(names)]


def fitted(picture: NDArray[np.uint8], size_px: int | None) -> NDArray[np.uint8]:
    """Cut a picture (H, W, 3) to its central square and resize it by Lanczos; None leaves it."""
    if size_px is None or picture.shape[:2] == (size_px, size_px):
        return picture
    height, width = picture.shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((size_px, size_px), Image.Resampling.LANCZOS))


def _alike(values: Mapping[str, str]) -> list[str]:
    """Name those that share a value with others, as "a = b"."""
    by_value: dict[str, list[str]] = {}
    for name, value in values.items():
        by_value.setdefault(value, []).append(name)
    return [" = ".join(names) for names in by_value.values() if len(names) > 1]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + ", …" * (len(names) > SHOWN)


def _captions_of(path: Path) -> Iterator[tuple[str, str]]:
    """Read a captions file's names and captions."""
    text = _text_of(path)
    if path.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""))
        column = _caption_column(str(path), reader.fieldnames or [], needed="file_name")
        rows: Sequence[Mapping[str, Any]] = list(reader)
    else:
        rows = [_json_row(path, number, line) for number, line in _lines(text)]
        column = _caption_column(str(path), list(rows[0]) if rows else [], needed="file_name")
    for number, row in enumerate(rows, start=1):
        name, caption = row.get("file_name"), row.get(column)
        if not isinstance(name, str) or not isinstance(caption, str | None):
            raise RecordError(f"{path}: row {number}: expected texts file_name and {column}")
        yield name, caption or ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip())


def _json_row(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecordError(f"{path}:{number}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RecordError(f"{path}:{number}: expected an object, got {line[:60]!r}")
    return row


def _caption_column(where: str, columns: Sequence[str], *, needed: str) -> str:
    found = [name for name in CAPTION_NAMES if name in columns]
    if needed not in columns or len(found) != 1:
        raise RecordError(
            f"{where}: has the columns {', '.join(columns) or 'none'}; expected {needed} and one "
            f"of {', '.join(CAPTION_NAMES)}"
        )
    return found[0]


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8 text: {error}") from error
