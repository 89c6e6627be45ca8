"""Reads the JSON files of the published code: pictures with prompts, some with replies given."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from selma.core.errors import RecordError
from selma.core.files import read_json
from selma.correction.layout import Checked, check_layout
from selma.correction.replies import check_scene
from selma.correction.scene import Scene

_TEXTS = ("input_fname", "output_dir", "prompt")
_OPTIONAL = ("generator", "llm_parsed_prompt", "llm_layout_suggestions")
_PARSED = ("objects", "bg_prompt", "neg_prompt")
_NAME_BYTES = 200  # of a folder or a picture; file systems allow 255, and more is added


@dataclass(frozen=True)
class Entry:
    """A picture to correct or edit."""

    number: int  # in the file, from 1
    input_fname: str  # without .png
    output_dir: str
    prompt: str
    generator: str | None  # names the detector's thresholds
    scene: Scene | None  # None: an LLM is asked
    suggestion: Any  # as it stands in the file; None: an LLM is asked; see `given_layout`


@dataclass(frozen=True)
class Refused:
    """An entry that cannot be used, and why."""

    number: int
    output_dir: str | None  # if it has one that can be used
    reason: str


def read_entries(path: Path, objects_max: int) -> list[Entry | Refused]:
    """Read a file's entries; one that cannot be used does not stop the others.

    Raises:
        MissingDataError: there is no such file.
        RecordError: it is not JSON, or holds no list of entries.
    """
    try:
        entries = read_json(path)
    except RecursionError as error:
        raise RecordError(f"{path}: lists in lists in lists are too deep") from error
    if not isinstance(entries, list):
        raise RecordError(
            f"{path}: holds {type(entries).__name__}, expected a list of entries with "
            f"{', '.join(_TEXTS)}"
        )
    read: list[Entry | Refused] = []
    places: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            one = _entry(number, entry, objects_max)
            if one.output_dir in places:
                raise ValueError(
                    f"output_dir {one.output_dir!r} is that of entry {places[one.output_dir]} too"
                )
            places[one.output_dir] = number
            read.append(one)
        except ValueError as error:
            read.append(Refused(number, _usable(entry), f"{path}: entry {number}: {error}"))
    return read


def given_layout(entry: Entry, nouns: list[str], objects_max: int) -> Checked:
    """Check the layout that an entry gives in place of an LLM; ValueError says what is wrong."""
    return check_layout(entry.suggestion, nouns, objects_max)


def safe_name(name: str) -> str:
    """Check that a name leads to a place inside a folder; folders in it are fine.

    Raises:
        ValueError: it is empty, absolute, goes up, is too long or is no name on some systems.
    """
    parts = name.split("/")
    wrong = any(part in ("", ".", "..") for part in parts)
    if wrong or any(letter in name for letter in "\\:\0") or not name.isprintable():
        raise ValueError(f"{name!r} is no name inside a folder; give one without '..' and '\\'")
    if max(len(part.encode()) for part in parts) > _NAME_BYTES:
        raise ValueError(f"{name[:30]!r}… is too long a name; give one of {_NAME_BYTES} bytes")
    return str(PurePosixPath(name))


def _entry(number: int, entry: Any, objects_max: int) -> Entry:
    if not isinstance(entry, Mapping):
        raise ValueError(f"expected an object with {', '.join(_TEXTS)}, got {entry!r:.80}")
    unknown = sorted(map(str, set(entry) - {*_TEXTS, *_OPTIONAL}))
    if unknown:
        known = ", ".join((*_TEXTS, *_OPTIONAL))
        raise ValueError(f"unknown key {unknown[0]!r}; known are {known}")
    for key in _TEXTS:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise ValueError(f"{key}: expected a text, got {entry.get(key)!r:.80}")
    generator = entry.get("generator")
    if generator is not None and not isinstance(generator, str):
        raise ValueError(f"generator: expected a name or null, got {generator!r:.80}")
    parsed = entry.get("llm_parsed_prompt")
    return Entry(
        number,
        _named("input_fname", entry),
        _named("output_dir", entry),
        entry["prompt"],
        generator,
        None if parsed is None else _scene(parsed, objects_max),
        entry.get("llm_layout_suggestions"),
    )


def _named(key: str, entry: Mapping[str, Any]) -> str:
    try:
        return safe_name(entry[key])
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _scene(parsed: Any, objects_max: int) -> Scene:
    if not isinstance(parsed, Mapping) or not {"objects", "bg_prompt"} <= set(parsed):
        raise ValueError(f"llm_parsed_prompt: expected {', '.join(_PARSED)}, got {parsed!r:.80}")
    try:
        return check_scene(
            parsed["objects"], parsed["bg_prompt"], parsed.get("neg_prompt"), objects_max
        )
    except ValueError as error:
        raise ValueError(f"llm_parsed_prompt: {error}") from error


def _usable(entry: Any) -> str | None:
    try:
        return safe_name(entry["output_dir"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
