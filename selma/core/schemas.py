"""What the pipeline's tables hold: Arrow's columns of each kind, and the check of every row."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic_core import SchemaValidator, ValidationError
from pydantic_core import core_schema as rules

from selma.core.errors import RecordError

TEXT, INTEGER, NUMBER = pa.string(), pa.int64(), pa.float64()


def _columns(**types: pa.DataType) -> list[pa.Field]:
    return [pa.field(name, data_type, nullable=False) for name, data_type in types.items()]


def _list_of(item: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", item, nullable=False))


IMAGE = pa.struct([*_columns(bytes=pa.binary()), pa.field("path", TEXT)])  # as `datasets.Image`
QUESTION = pa.struct(
    _columns(question_id=INTEGER, question=TEXT, choices=_list_of(TEXT), answer=TEXT)
    + _columns(dependency=TEXT, category=TEXT, element=TEXT)
)
PICTURE = _columns(
    image=IMAGE, prompt=TEXT, seed=INTEGER, width=INTEGER, height=INTEGER, sha256=TEXT
)


@dataclass(frozen=True)
class TableKind:
    """One kind of table: its columns, and how many of the first ones are the key."""

    columns: Sequence[pa.Field]
    key_size: int

    @property
    def key(self) -> list[str]:
        return [column.name for column in self.columns[: self.key_size]]

    @functools.cached_property
    def validator(self) -> SchemaValidator:
        return SchemaValidator(_rule(pa.struct(self.columns)))

    def at(self, place: Sequence[int | str]) -> pa.StructType:
        """The type of the record at a place in a row, e.g. ``("questions", 0)``."""
        here: Any = pa.struct(self.columns)
        for part in place:
            here = here.value_type if isinstance(part, int) else here.field(part).type
        return here


KINDS = {
    "prompts": TableKind(
        _columns(prompt_id=TEXT, skill=TEXT, prompt=TEXT, index=INTEGER, request_id=INTEGER)
        + [pa.field("nearest_prompt_id", TEXT), *_columns(rouge_l=NUMBER)]
        + [pa.field("nearest_benchmark_id", TEXT), *_columns(benchmark_rouge_l=NUMBER)]
        + [pa.field("benchmark_kind", TEXT)],
        key_size=1,
    ),
    "transcript": TableKind(
        _columns(number=INTEGER, total=INTEGER, model=TEXT, parameters=TEXT, request=TEXT)
        + _columns(seed=INTEGER, reply=TEXT)
        + [pa.field("finish_reason", TEXT), pa.field("prompt_tokens", INTEGER)]
        + [pa.field("reply_tokens", INTEGER), pa.field("usd", NUMBER)],
        key_size=1,
    ),
    "images": TableKind([*_columns(prompt_id=TEXT, sample=INTEGER), *PICTURE], key_size=2),
    "pairs": TableKind(  # pictures of which pairs are chosen
        [*_columns(prompt_id=TEXT, sample=INTEGER, rating=NUMBER), *PICTURE], key_size=2
    ),
    "corrections": TableKind(
        _columns(prompt_id=TEXT, sample=INTEGER, prompt=TEXT, seed=INTEGER, verdict=TEXT)
        + [pa.field("kept", TEXT)]  # the result, the original or, where it is dropped, nothing
        + _columns(rounds=INTEGER, chosen_round=INTEGER, remove=INTEGER, add=INTEGER)
        + _columns(move=INTEGER, attribute=INTEGER)
        + [pa.field("passes_before", INTEGER), pa.field("passes_after", INTEGER)]  # 0, 1
        + _columns(llm_requests=INTEGER, llm_refused=INTEGER, failure=TEXT)
        + _columns(sha256_before=TEXT, sha256_after=TEXT, trace=TEXT),
        key_size=2,
    ),
    "samples": TableKind([*_columns(item_id=TEXT, sample=INTEGER), *PICTURE], key_size=2),
    "benchmark": TableKind(
        _columns(item_id=TEXT, prompt=TEXT, source=TEXT, questions=_list_of(QUESTION)), key_size=1
    ),
    "answers": TableKind(
        _columns(item_id=TEXT, sample=INTEGER, question_id=INTEGER, judge=TEXT, revision=TEXT)
        + _columns(sha256=TEXT, raw_answer=TEXT, answer=TEXT),
        key_size=5,
    ),
    "scores": TableKind(
        _columns(item_id=TEXT, sample=INTEGER, source=TEXT)
        + _columns(score=NUMBER, weight=NUMBER, details=TEXT),
        key_size=2,
    ),
}


def checked_rows(
    rows: Iterable[Mapping[str, Any]], kind: TableKind, where: str
) -> list[dict[str, Any]]:
    """Sort rows by key, with integers in float columns made floats; they are not changed in place.

    RecordError, which begins with the file `where`, if a row does not fit or a key occurs twice.
    """
    by_key: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, row in enumerate(rows):
        try:
            checked = kind.validator.validate_python(row)
        except ValidationError as error:
            problem = _problem(error, kind)
            raise RecordError(f"{_place(row, kind, number, where)}: {problem}") from error
        values = tuple(checked[name] for name in kind.key)
        if values in by_key:
            problem = "the key occurs twice; keys must be unique"
            raise RecordError(f"{_place(row, kind, number, where)}: {problem}")
        by_key[values] = checked
    return [by_key[values] for values in sorted(by_key)]


def _rule(data_type: pa.DataType) -> rules.CoreSchema:
    """Say in pydantic's terms what a value of an Arrow type must be; nothing is converted."""
    if pa.types.is_struct(data_type):
        fields = {}
        for field in data_type:
            rule = _rule(field.type)
            rule = rules.nullable_schema(rule) if field.nullable else rule
            fields[field.name] = rules.typed_dict_field(rule)
        return rules.typed_dict_schema(fields, extra_behavior="forbid")
    if pa.types.is_list(data_type):
        return rules.list_schema(_rule(data_type.value_type), strict=True)
    is_number = rules.is_instance_schema((float, int))  # not whatever has a __float__
    finite = rules.float_schema(strict=True, allow_inf_nan=False)
    scalars: dict[pa.DataType, rules.CoreSchema] = {
        TEXT: rules.str_schema(strict=True),
        INTEGER: rules.int_schema(strict=True, ge=-(2**63), le=2**63 - 1),
        NUMBER: rules.chain_schema([is_number, finite]),
        pa.binary(): rules.bytes_schema(strict=True),
    }
    return scalars[data_type]


_EXPECTED = {
    "string_type": "a string", "bytes_type": "bytes", "int_type": "an integer",
    "greater_than_equal": "a 64-bit integer", "less_than_equal": "a 64-bit integer",
    "float_type": "a number", "is_instance_of": "a number", "finite_number": "a finite number",
    "list_type": "a list", "dict_type": "a record",
}  # fmt: skip


def _place(row: Mapping[str, Any], kind: TableKind, number: int, where: str) -> str:
    key = [f"{name}={row[name]!r}" for name in kind.key if name in row]
    return f"{where}: row {', '.join(key) or number}"


def _problem(error: ValidationError, kind: TableKind) -> str:
    """Name missing and unknown columns, or else the first wrong value of a row."""
    problems = error.errors(include_url=False)
    by_name = [p for p in problems if p["type"] in ("missing", "extra_forbidden")]
    if by_name:
        parent = by_name[0]["loc"][:-1]
        wrong = sorted(str(p["loc"][-1]) for p in by_name if p["loc"][:-1] == parent)
        what = f"column {_column(parent)}" if parent else "the row"
        names = ", ".join(field.name for field in kind.at(parent))
        return f"{what} must have exactly {names}; missing or unknown: {', '.join(wrong)}"
    first = problems[0]
    got = repr(first["input"])
    got = got if len(got) <= 60 else got[:57] + "…"
    got = f"{got} ({type(first['input']).__name__})"
    return f"column {_column(first['loc'])}: expected {_EXPECTED[first['type']]}, got {got}"


def _column(place: Sequence[int | str]) -> str:
    parts = ["[]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(parts).lstrip(".")


def check_columns(seen: pa.Schema, columns: Sequence[pa.Field], where: str) -> None:
    """Compare a file's columns by name and type; nulls are looked for in the rows.

    RecordError names every column that is missing, unknown or of another type.
    """
    wanted = {column.name: column.type for column in columns}
    problems = [f"column {name} is missing" for name in wanted if name not in seen.names]
    for field in seen:
        if field.name not in wanted or seen.names.count(field.name) > 1:
            problems.append(f"column {field.name} is unknown or occurs twice")
        elif _plain(field.type) != _plain(wanted[field.name]):
            problems.append(f"column {field.name} is {field.type}, expected {wanted[field.name]}")
    if problems:
        raise RecordError(f"{where}: {'; '.join(problems)}; run `dvc repro` to make it anew")


def _plain(data_type: pa.DataType) -> object:
    """Describe a type by its parts, without null flags and the names of list items."""
    if pa.types.is_struct(data_type):
        return sorted((field.name, str(_plain(field.type))) for field in data_type)
    if pa.types.is_list(data_type):
        return ["list", _plain(data_type.value_type)]
    return str(data_type)
