"""The pipeline's Parquet tables: files whose bytes depend on the content alone.

Tables with a picture say so as Hugging Face's ``load_dataset("parquet", …)`` reads it.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selma.core.choices import choose
from selma.core.errors import MissingDataError, RecordError
from selma.core.files import written_whole
from selma.core.schemas import KINDS, TableKind, check_columns, checked_rows

ABOUT_KEY = b"selma"  # file metadata: what the table's numbers are, as JSON
ROWS_PER_GROUP = 1000
BYTES_PER_GROUP = 2**26  # of pictures; Arrow holds at most 2 GiB of them in one piece
ROWS_READ_AT_ONCE = 100
ZSTD_LEVEL = 9


def write_table(
    path: Path, kind: str, rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any] | None = None
) -> None:
    """Write a table whole or not at all; the same rows in any order give the same bytes.

    `kind` is one of KINDS; a row has a value for each of its columns, and no others. `about` says
    in JSON's types how all rows came about; it is kept in the file, see `read_about`. RecordError,
    with file, row and column, if a row does not fit, a float is not finite or a key occurs twice.
    """
    table_kind = choose("table kind", kind, KINDS)
    schema = pa.schema(table_kind.columns, metadata=_metadata(table_kind.columns, about) or None)
    checked = checked_rows(rows, table_kind, str(path))
    options: dict[str, Any] = {
        "compression": "zstd", "compression_level": ZSTD_LEVEL, "use_dictionary": False,
        "write_statistics": table_kind.key, "write_page_checksum": True,
    }  # fmt: skip
    with written_whole(path) as part, pq.ParquetWriter(part, schema, **options) as writer:
        for group in _groups(checked):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def read_table(path: Path, kind: str) -> list[dict[str, Any]]:
    """Read a table's rows, sorted by key, checked as they were when it was written.

    MissingDataError if there is no such file; RecordError, with file, row and column, if it is not
    Parquet, is cut short or damaged, or breaks the contract of its kind.
    """
    table_kind = choose("table kind", kind, KINDS)
    rows = (row for batch in _batches(path, table_kind, kind) for row in batch)
    return checked_rows(rows, table_kind, str(path))


def stream_table(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Read as `read_table`, but a few rows at a time; RecordError also if keys are out of order.

    That the file is there and a table of its kind is checked at once.
    """
    table_kind = choose("table kind", kind, KINDS)
    with _reading(path):
        check_columns(pq.read_schema(path), table_kind.columns, f"{path}: {kind} table")
    return _stream(path, table_kind, kind)


def _stream(path: Path, table_kind: TableKind, kind: str) -> Iterator[dict[str, Any]]:
    last: tuple[Any, ...] | None = None
    for batch in _batches(path, table_kind, kind):
        rows = checked_rows(batch, table_kind, str(path))
        for row in rows:
            values = tuple(row[name] for name in table_kind.key)
            if last is not None and values <= last:
                raise RecordError(
                    f"{path}: {values} comes after {last}; expected each key once and in order, "
                    "as selma writes them"
                )
            last = values
            yield row


def _batches(path: Path, table_kind: TableKind, kind: str) -> Iterator[list[dict[str, Any]]]:
    with _reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        check_columns(file.schema_arrow, table_kind.columns, f"{path}: {kind} table")
        number = 0
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(batch_size=ROWS_READ_AT_ONCE, row_groups=[group]):
                number += len(batch)
                yield batch.to_pylist()
        if number != file.metadata.num_rows:
            raise OSError(f"{file.metadata.num_rows} rows are promised, {number} are there")


def is_table(path: Path, kind: str) -> bool:
    """Whether a file is a table of a kind, by its columns."""
    columns = choose("table kind", kind, KINDS).columns
    try:
        return bool(pq.read_schema(path).names == [column.name for column in columns])
    except (pa.ArrowException, OSError):
        return False


def read_about(path: Path) -> dict[str, Any]:
    """Read what `write_table` was given as `about`; {} if nothing.

    MissingDataError if there is no such file; RecordError if it is not Parquet, or the note in it
    is no JSON object.
    """
    with _reading(path):
        note = (pq.read_schema(path).metadata or {}).get(ABOUT_KEY, b"{}")
    try:
        about = json.loads(note)
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise RecordError(f"{path}: its metadata {ABOUT_KEY!r} is no JSON object: {note[:60]!r}")
    return about


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file; run `dvc pull` or `dvc repro`") from error
    except PermissionError:
        raise
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise RecordError(
            f"{path}: cannot be read as Parquet, it may be cut short or damaged ({reason}); "
            "expected a table that selma wrote; what the pipeline made, `dvc pull` or `dvc repro` "
            "make anew"
        ) from error


def content_hash(rows: Iterable[Mapping[str, Any]], kind: str) -> str:
    """Hash a table's sorted rows as JSON, so whatever their order and the Parquet writer: SHA-256.

    RecordError as `write_table`.
    """
    digest = hashlib.sha256()
    for row in checked_rows(rows, choose("table kind", kind, KINDS), kind):
        digest.update(json.dumps(row, sort_keys=True, default=bytes.hex).encode() + b"\n")
    return digest.hexdigest()


def _groups(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Cut rows into row groups of bounded length and bounded bytes of pictures."""
    start, size = 0, 0
    for at, row in enumerate(rows):
        added = len(row["image"]["bytes"]) if "image" in row else 0
        if at - start == ROWS_PER_GROUP or (at > start and size + added > BYTES_PER_GROUP):
            yield rows[start:at]
            start, size = at, 0
        size += added
    if start < len(rows) or not rows:
        yield rows[start:]


def _metadata(columns: Sequence[pa.Field], about: Mapping[str, Any] | None) -> dict[bytes, str]:
    """Write `about`, and the note by which `datasets` knows that a column holds pictures."""
    metadata = {}
    features = {c.name: {"dtype": str(c.type), "_type": "Value"} for c in columns}
    if "image" in features:
        features["image"] = {"_type": "Image"}
        metadata[b"huggingface"] = json.dumps({"info": {"features": features}}, sort_keys=True)
    if about is not None:
        metadata[ABOUT_KEY] = json.dumps(about, sort_keys=True, allow_nan=False)
    return metadata
