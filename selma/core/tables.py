"""The pipeline's Parquet tables: their schemas, and files whose bytes depend on the content alone.

The schema is the contract between stages: it is checked when a table is written and when it is
read. Rows are sorted by key, keys are unique, floats are finite. Tables with a picture say so in
the metadata that Hugging Face `datasets` reads, so that ``load_dataset("parquet", …)`` shows them.
"""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selma.core.choices import choose
from selma.core.errors import MissingDataError, RecordError

ABOUT_KEY = b"selma"  # file metadata: what the table's numbers are, as JSON
ROWS_PER_GROUP = 1000
ZSTD_LEVEL = 9
PYTHON_TYPES: dict[pa.DataType, tuple[type, str]] = {
    pa.string(): (str, "a string"),
    pa.int64(): (int, "an integer"),
    pa.float64(): (float, "a number"),
    pa.binary(): (bytes, "bytes"),
}


@dataclass(frozen=True)
class TableKind:
    """One kind of table: its columns, and how many of the first ones are the key."""

    schema: pa.Schema
    key_size: int

    @property
    def key(self) -> list[str]:
        """The names of the key columns."""
        return list(self.schema.names[: self.key_size])


def _fields(columns: str) -> list[pa.Field]:
    """Read columns written as ``name type``, one a comma; ``type?`` may be null."""
    pairs = [column.split() for column in columns.split(",")]
    return [
        pa.field(name, TYPES[type_name.rstrip("?")], nullable=type_name.endswith("?"))
        for name, type_name in pairs
    ]


def _list_of(item: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", item, nullable=False))


TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "bytes": pa.binary(),
    "texts": _list_of(pa.string()),
}
TYPES["image"] = pa.struct(_fields("bytes bytes, path text?"))  # the layout of `datasets.Image`
TYPES["questions"] = _list_of(
    pa.struct(
        _fields(
            "question_id integer, question text, choices texts, answer text, dependency text,"
            "category text, element text"
        )
    )
)
PICTURE = "image image, prompt text, seed integer, width integer, height integer, sha256 text"
KINDS: dict[str, TableKind] = {
    name: TableKind(pa.schema(_fields(columns)), key_size)
    for name, key_size, columns in (
        (
            "prompts",
            1,
            "prompt_id text, skill text, prompt text, index integer, request_id integer,"
            "nearest_prompt_id text?, rouge_l number,"
            "nearest_benchmark_id text?, benchmark_rouge_l number",
        ),
        ("images", 2, f"prompt_id text, sample integer, {PICTURE}"),
        ("samples", 2, f"item_id text, sample integer, {PICTURE}"),
        ("benchmark", 1, "item_id text, prompt text, source text, questions questions"),
        (
            "answers",
            5,
            "item_id text, sample integer, question_id integer, judge text, revision text,"
            "sha256 text, raw_answer text, answer text",
        ),
        (
            "scores",
            2,
            "item_id text, sample integer, source text, score number, weight number, details text",
        ),
    )
}


def write_table(
    path: Path,
    kind: str,
    rows: Iterable[Mapping[str, Any]],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a table whole or not at all; the same rows in any order give the same bytes.

    Args:
        path: the Parquet file; its folder is made.
        kind: one of KINDS.
        rows: a value for every column of the kind, and no others.
        about: how all rows came about, in JSON's types; kept in the file, see `read_about`.

    Raises:
        RecordError: a row does not fit the schema, a float is not finite or a key occurs twice;
            the message names file, row and column, and nothing is written.
    """
    table_kind = choose("table kind", kind, KINDS)
    schema = _with_metadata(table_kind.schema, about)
    table = pa.Table.from_pylist(checked_rows(rows, table_kind, str(path)), schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        pq.write_table(
            table,
            part,
            row_group_size=ROWS_PER_GROUP,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=False,
            write_statistics=table_kind.key,
            write_page_checksum=True,
            store_schema=True,
        )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_table(path: Path, kind: str) -> list[dict[str, Any]]:
    """Read a table and check it as it was checked when it was written.

    Returns:
        The rows as dicts, sorted by key.

    Raises:
        MissingDataError: there is no such file.
        RecordError: the file is not Parquet, is cut short or damaged, or breaks the contract of
            its kind; the message names file, row and column.
    """
    table_kind = choose("table kind", kind, KINDS)
    with _reading(path):
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    _check_columns(table.schema, table_kind.schema, f"{path}: {kind} table")
    return checked_rows(table.to_pylist(), table_kind, str(path))


def is_table(path: Path, kind: str) -> bool:
    """Tell whether a file is a table of a kind, by its columns."""
    wanted = choose("table kind", kind, KINDS).schema.names
    try:
        return bool(pq.read_schema(path).names == wanted)
    except (pa.ArrowException, OSError):
        return False


def read_about(path: Path) -> dict[str, Any]:
    """Read what `write_table` was told about a table; {} if nothing.

    Raises:
        MissingDataError: there is no such file.
        RecordError: the file is not Parquet, or the note in it is no JSON object.
    """
    with _reading(path):
        metadata = pq.read_schema(path).metadata or {}
    try:
        about = json.loads(metadata.get(ABOUT_KEY, b"{}"))
    except ValueError as error:
        raise RecordError(f"{path}: its metadata {ABOUT_KEY!r} is not JSON: {error}") from error
    if not isinstance(about, dict):
        raise RecordError(f"{path}: its metadata {ABOUT_KEY!r} is no JSON object")
    return about


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file; run `dvc pull` or `dvc repro`") from error
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise RecordError(
            f"{path}: cannot be read as Parquet, it may be cut short or damaged ({reason}); "
            "expected a table that selma wrote; what the pipeline made, `dvc pull` or `dvc repro` "
            "make anew"
        ) from error


def content_hash(rows: Iterable[Mapping[str, Any]], kind: str) -> str:
    """Hash the content of a table, whatever the order of its rows and the Parquet writer.

    Returns:
        SHA-256 over the sorted rows as JSON, bytes in hexadecimal.

    Raises:
        RecordError: as `write_table`.
    """
    digest = hashlib.sha256()
    for row in checked_rows(rows, choose("table kind", kind, KINDS), kind):
        digest.update(json.dumps(row, sort_keys=True, default=bytes.hex).encode() + b"\n")
    return digest.hexdigest()


def checked_rows(
    rows: Iterable[Mapping[str, Any]], kind: TableKind, where: str
) -> list[dict[str, Any]]:
    """Give the rows sorted by key, integers in float columns made floats.

    Args:
        rows: the rows to check; they are not changed.
        kind: the schema they must fit.
        where: the file, for the message.

    Raises:
        RecordError: a row does not fit, or a key occurs twice.
    """
    row_type = pa.struct(list(kind.schema))
    by_key: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, row in enumerate(rows):
        key = {name: row[name] for name in kind.key if name in row}
        at = f"{where}: row {', '.join(f'{n}={v!r}' for n, v in key.items()) or number}"
        checked = _checked(row, row_type, at, "")
        values = tuple(checked[name] for name in kind.key)
        if values in by_key:
            raise RecordError(f"{at}: the key occurs twice; keys must be unique")
        by_key[values] = checked
    return [by_key[values] for values in sorted(by_key)]


def _checked(value: Any, wanted: pa.DataType, at: str, column: str) -> Any:
    """Give the value as Arrow should get it; `at` and `column` say where it stands."""
    if pa.types.is_struct(wanted):
        if not isinstance(value, Mapping):
            raise _mismatch(at, column, "a record", value)
        names = [field.name for field in wanted]
        if set(value) != set(names):
            odd = sorted(str(name) for name in set(value) ^ set(names))
            what = f"column {column}" if column else "the row"
            raise RecordError(
                f"{at}: {what} must have exactly {', '.join(names)}; "
                f"missing or unknown: {', '.join(odd)}"
            )
        return {
            field.name: None
            if field.nullable and value[field.name] is None
            else _checked(value[field.name], field.type, at, f"{column}.{field.name}".lstrip("."))
            for field in wanted
        }
    if pa.types.is_list(wanted):
        if not isinstance(value, list | tuple):
            raise _mismatch(at, column, "a list", value)
        return [_checked(item, wanted.value_type, at, f"{column}[]") for item in value]
    return _checked_scalar(value, wanted, at, column)


def _checked_scalar(value: Any, wanted: pa.DataType, at: str, column: str) -> Any:
    python_type, words = PYTHON_TYPES[wanted]
    if python_type is float and type(value) is int:
        value = float(value)
    if not isinstance(value, python_type) or isinstance(value, bool):
        raise _mismatch(at, column, words, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _mismatch(at, column, "a finite number", value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _mismatch(at, column, "a 64-bit integer", value)
    return value


def _mismatch(at: str, column: str, wanted: str, value: Any) -> RecordError:
    seen = repr(value)
    seen = seen if len(seen) <= 60 else seen[:57] + "…"
    return RecordError(
        f"{at}: column {column or '(row)'}: expected {wanted}, got {seen} ({type(value).__name__})"
    )


def _check_columns(seen: pa.Schema, wanted: pa.Schema, where: str) -> None:
    """Compare names and types; whether a value may be null is checked on the values."""
    problems = [f"column {name} is missing" for name in wanted.names if name not in seen.names]
    for field in seen:
        if field.name not in wanted.names or seen.names.count(field.name) > 1:
            problems.append(f"column {field.name} is unknown or occurs twice")
        elif _plain(field.type) != _plain(wanted.field(field.name).type):
            problems.append(
                f"column {field.name} is {field.type}, expected {wanted.field(field.name).type}"
            )
    if problems:
        raise RecordError(f"{where}: {'; '.join(problems)}; run `dvc repro` to make it anew")


def _plain(data_type: pa.DataType) -> object:
    """Describe a type by its parts, without null flags and the names of list items."""
    if pa.types.is_struct(data_type):
        return sorted((field.name, str(_plain(field.type))) for field in data_type)
    if pa.types.is_list(data_type):
        return ["list", _plain(data_type.value_type)]
    return str(data_type)


def _with_metadata(schema: pa.Schema, about: Mapping[str, Any] | None) -> pa.Schema:
    """Add `about`, and the note by which `datasets` knows that a column holds pictures."""
    metadata: dict[bytes | str, bytes | str] = {}
    if "image" in schema.names:
        features = {
            field.name: {"_type": "Image"}
            if field.name == "image"
            else {"dtype": str(field.type), "_type": "Value"}
            for field in schema
        }
        metadata["huggingface"] = json.dumps({"info": {"features": features}}, sort_keys=True)
    if about is not None:
        metadata[ABOUT_KEY] = json.dumps(about, sort_keys=True, allow_nan=False)
    return schema.with_metadata(metadata) if metadata else schema
