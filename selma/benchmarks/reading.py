"""Reads a benchmark's files strictly and names all that is wrong with them in one error."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from selma.core.errors import MissingDataError, RecordError

Row = dict[str, Any]
Check = tuple[Callable[[Any], object], str]  # whether a value is as it should be, and what that is
SHOWN_PROBLEMS = 5
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Imported:
    """What an importer read."""

    rows: list[Row]  # of a benchmark table, in the order of the files
    files: list[Path]
    published_items: int  # prompts in the whole public benchmark


class Importer(Protocol):
    """Reads and checks the public files of one benchmark.

    `path` is a file, or a folder where the public layout is one; `partial` takes a part of the
    benchmark too, so long as its items keep their ids. Raises MissingDataError if `path` is not
    there, and RecordError that names all that is wrong: file, line, column, got and expected.
    """

    def __call__(self, path: Path, *, partial: bool) -> Imported: ...


class Record(NamedTuple):
    """One row of a table in a text file, and the line it begins on, from 1."""

    line: int
    cells: dict[str, str]


class Problems:
    """What is wrong with a file or a folder of files: collected, then raised as one line."""

    def __init__(self, path: Path, remedy: str, parts: str = "") -> None:
        """Begin without problems; `remedy` says what to do, `parts` what --partial could import."""
        self.path = path
        partial = f", or say --partial to import the {parts} that are there" if parts else ""
        self.remedy = remedy + partial
        self._found: list[str] = []

    def add(self, place: str, problem: str) -> None:
        """Note a problem; the place is a line, a column, an item."""
        self._found.append(f"{place}: {problem}")

    def wrong(self, place: str, expected: str, got: object) -> None:
        self.add(place, f"expected {expected}, got {shown(got)}")

    def check(
        self, place: str, entry: Mapping[str, Any], checks: Mapping[str, Check], kind: str = "key"
    ) -> bool:
        """Note each value that its check refuses, and tell whether there is none."""
        refused = {
            name: what for name, (holds, what) in checks.items() if not holds(entry.get(name))
        }
        for name, expected in refused.items():
            self.wrong(f"{place}, {kind} {name}", expected, entry.get(name, "nothing"))
        return not refused

    def stop(self) -> None:
        """Raise RecordError with the first problems and their number, if there are any."""
        if not self._found:
            return
        first, count = self._found[:SHOWN_PROBLEMS], len(self._found)
        head = f"{count} problems: " if count > 1 else ""
        more = f"; and {count - len(first)} more" if count > len(first) else ""
        raise RecordError(f"{self.path}: {head}{'; '.join(first)}{more}; {self.remedy}")

    def lines_of(self, path: Path) -> list[str]:
        """Read lines, which end in LF or CR LF and in nothing else that Unicode has for it.

        A file that is missing, is not UTF-8 or is empty is a problem and gives [].
        """
        lines = [line.removesuffix("\r") for line in self._text_of(path).split("\n")]
        return lines if lines[-1] else lines[:-1]

    def json_list(self, path: Path) -> list[Any]:
        """Read a file that holds one JSON list; anything else is a problem and gives []."""
        text = self._text_of(path)
        if not text:
            return []
        place = f"{self.in_file(path)}file"
        try:
            entries = parse_json(text)
        except ValueError as error:
            self.add(place, str(error))
            return []
        if not isinstance(entries, list) or not entries:
            self.wrong(place, "a JSON list that is not empty", entries)
            return []
        return entries

    def csv_records(self, path: Path, columns: Sequence[str]) -> Iterator[Record]:
        """Read a comma-separated table, every cell as text; its rows may span lines.

        A header that lacks or adds a column, a row with too many or too few cells and broken quotes
        are problems; such a row is left out, and after such a header or quote nothing follows.
        """
        reader = csv.reader(io.StringIO(self._text_of(path), newline=""), strict=True)
        header: list[str] = []
        before = 0
        try:
            for cells in reader:
                line, before = before + 1, reader.line_num
                if not header:
                    header = cells
                    if not self._fits(header, columns):
                        return
                elif len(cells) == len(header):
                    yield Record(line, dict(zip(header, cells, strict=True)))
                else:
                    self.wrong(f"line {line}", f"{len(header)} cells", len(cells))
        except csv.Error as error:
            self.add(f"line {before + 1}", f"cannot be read as CSV ({error}); it may be cut short")

    def check_count(self, place: str, what: str, expected: int, got: int) -> None:
        if got != expected:
            self.add(place, f"expected {expected} {what}, got {got}")

    def check_counts(self, what: str, expected: dict[str, int], got: Counter[str]) -> None:
        """Note a problem for each kind whose number is not as expected or that is unknown."""
        for kind in sorted(expected.keys() | got.keys()):
            self.check_count(kind, what, expected.get(kind, 0), got[kind])

    def in_file(self, path: Path) -> str:
        """Begin a place in this file with its name, if the message does not name it."""
        return "" if path == self.path else f"{path.name} "

    def _text_of(self, path: Path) -> str:
        place = self.in_file(path)
        if not path.is_file():
            self.add(f"{place}file", "is missing")
            return ""
        data = path.read_bytes()
        if not data:
            self.add(f"{place}file", "is empty")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.add(f"{place}line {line}", f"byte 0x{data[error.start]:02x} is not UTF-8")
            return ""

    def _fits(self, header: Sequence[str], columns: Sequence[str]) -> bool:
        lost = [name for name in columns if name not in header]
        extra = [name for name in header if name not in columns or header.count(name) > 1]
        if lost:
            self.add("line 1", f"missing columns: {', '.join(lost)}")
        if extra:
            self.add("line 1", f"unknown or doubled columns: {shown(', '.join(extra))}")
        return not lost and not extra


def item(item_id: str, prompt: str, source: str) -> Row:
    return {"item_id": item_id, "prompt": prompt, "source": source, "questions": []}


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def is_text(value: object) -> bool:
    """Tell whether a value is a text with something in it, and one that UTF-8 can hold."""
    return is_writable(value) and bool(str(value).strip())


def is_writable(value: object) -> bool:
    """Tell whether a value is a text, maybe empty, that UTF-8 can hold: JSON can bring others."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


TEXT: Check = (is_text, "a text")


def file_in(path: Path, name: str, remedy: str) -> Path:
    """Find the file itself, or the one of this name in a folder; MissingDataError without it."""
    file = path / name if path.is_dir() else path
    if not file.is_file():
        raise MissingDataError(f"{file}: no such file; {remedy}")
    return file


def check_folder(path: Path, remedy: str) -> None:
    """Raise MissingDataError if there is no such folder, RecordError if it is a file."""
    if not path.exists():
        raise MissingDataError(f"{path}: no such folder; {remedy}")
    if not path.is_dir():
        raise RecordError(f"{path}: is a file, expected the folder that holds it; {remedy}")


def parse_json(text: str) -> Any:
    """Read JSON; the ValueError of a text that is none says where and why."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}"
        raise ValueError(f"not JSON at {at} ({error.msg}); it may be cut short") from error
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
