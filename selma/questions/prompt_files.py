"""Reads prompts that questions are to be written for."""

import json
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from selma.core.choices import choose
from selma.core.errors import MissingDataError, RecordError


@dataclass(frozen=True)
class Prompt:
    """A prompt of a benchmark to be; `source` is the group that results are shown by."""

    item_id: str
    prompt: str
    source: str


def read_prompts(path: Path) -> list[Prompt]:
    """Read prompts from a file of one of these kinds, by its ending.

    ``.txt``: one prompt a line; blank lines do not count. Item ids are the file's name and the
    prompt's number, the source is the file's name. ``.jsonl``: one object a line with ``item_id``,
    ``prompt`` and ``source``. ``.parquet``: a prompts table; the source is the skill.

    ConfigError for another ending, MissingDataError if there is no such file, RecordError if a
    prompt is empty or not text, an item id occurs twice, or there is no prompt.
    """
    read = choose("prompts file", path.suffix, READERS)
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; --prompts names the prompts to ask about")
    prompts: dict[str, Prompt] = {}
    for where, prompt in read(path):
        if not prompt.item_id.strip() or not prompt.prompt.strip():
            raise RecordError(f"{where}: item id and prompt must not be empty")
        if prompt.item_id in prompts:
            raise RecordError(f"{where}: item id {prompt.item_id!r} occurs twice")
        prompts[prompt.item_id] = prompt
    if not prompts:
        raise RecordError(f"{path}: holds no prompts")
    return list(prompts.values())


def _read_text(path: Path) -> Iterator[tuple[str, Prompt]]:
    lines = filter(None, map(str.strip, _text_of(path).splitlines()))
    for number, line in enumerate(lines, start=1):
        yield str(path), Prompt(f"{path.stem}_{number:04d}", line, path.stem)


def _read_json_lines(path: Path) -> Iterator[tuple[str, Prompt]]:
    for number, line in enumerate(_text_of(path).splitlines(), start=1):
        where = f"{path}:{number}"
        try:
            prompt = Prompt(**json.loads(line))
        except ValueError as error:
            raise RecordError(f"{where}: not JSON: {error}") from error
        except TypeError:
            prompt = None
        if prompt is None or not all(isinstance(text, str) for text in astuple(prompt)):
            raise RecordError(f"{where}: expected an object with the texts item_id, prompt, source")
        yield where, prompt


def _read_table(path: Path) -> Iterator[tuple[str, Prompt]]:
    from selma.core.tables import read_table

    for row in read_table(path, "prompts"):
        yield str(path), Prompt(row["prompt_id"], row["prompt"], row["skill"])


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8 text: {error}") from error


READERS: dict[str, Callable[[Path], Iterator[tuple[str, Prompt]]]] = {
    ".txt": _read_text,
    ".jsonl": _read_json_lines,
    ".parquet": _read_table,
}
