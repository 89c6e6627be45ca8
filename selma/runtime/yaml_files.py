"""A YAML file read as DVC reads it, and a value checked against a model: all problems in a line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from selma.core.errors import ConfigError, MissingDataError
from selma.core.files import write_bytes_atomic

S = TypeVar("S")
# Pydantic's names of a union's branches, and where in a key they stand, by section; where there
# is another inside of one, it stands where it does without the first.
BRANCHES: dict[str, tuple[tuple[int, tuple[str, ...]], ...]] = {
    "objectives": ((2, ("denoise", "dpo", "ddpo")),),
    "raters": ((2, ("clipscore", "dsg", "hps", "imagereward", "pickscore", "tifa")),),
    "sources": ((2, ("adapter", "backbone", "folder", "parquet", "pocket", "self")),),
    "measures": ((2, ("dsg", "tifa")),),
    "models": (
        (2, ("one", "composite", "switch")),
        (3, ("syngen", "attend_and_excite", "structure_diffusion")),
    ),
    "merges": ((4, ("number", "blocks")),),
    "fits": ((2, ("regmean", "cat")),),
    "distillations": ((2, ("composite", "skill")),),
    "searches": ((3, ("dsg", "tifa")),),
    "correct": ((2, ("latent", "inpaint")),),
}


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file with the parser that DVC uses.

    Raises:
        MissingDataError: there is no such file.
        ConfigError: it is not YAML; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not a text file ({error})") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML 1.2 as DVC does; ConfigError names the line."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def set_value(path: Path, keys: Sequence[str], value: str) -> None:
    """Change one plain value of a YAML file in place; all other bytes stay.

    ConfigError if the value is not written out, as an empty one.
    """
    from ruamel.yaml import YAML

    text = path.read_bytes().decode()
    place = YAML().load(text)
    for key in keys[:-1]:
        place = place[key]
    line, column = place.lc.value(keys[-1])
    lines = text.splitlines(keepends=True)
    if line < len(lines):
        rest = re.sub(r"^[^\s,{}#:]+(?=[\s,}#]|$)", value, lines[line][column:])
        lines[line] = lines[line][:column] + rest
    changed = YAML(typ="safe").load("".join(lines))
    for key in keys:
        changed = changed[key] if isinstance(changed, dict) else None
    if changed != value:
        name = ".".join(keys)
        raise ConfigError(f"{path}: {name}: cannot be filled in; write null for its value first")
    write_bytes_atomic(path, "".join(lines).encode())


def validate(model: type[S], value: object, where: str, prefix: str = "") -> S:
    """Check a value against a model and list all problems in one line."""
    try:
        return TypeAdapter(model).validate_python(value, strict=True)
    except ValidationError as error:
        problems = "; ".join(_problem(detail, prefix) for detail in error.errors())
        raise ConfigError(f"{where}: {problems}") from error


def _problem(detail: Any, prefix: str) -> str:
    place = [part for part in (*prefix.split("."), *map(str, detail["loc"])) if part]
    for at, names in BRANCHES.get(place[0] if place else "", ()):
        if place[at : at + 1] and place[at] in names:
            del place[at]
    key = ".".join(place) or "the file"
    if detail["type"] == "extra_forbidden":
        return f"{key} is not a known key (value {detail['input']!r}); remove or correct it"
    if detail["type"] == "missing":
        return f"{key} is missing"
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return f"{key}: {message}, got {detail['input']!r}"
