"""A study's file: the question, the variants and seeds to run, the tables and claims to print."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from selma.core.errors import ConfigError
from selma.runtime.sections import Name, Place, Section, Seed
from selma.runtime.yaml_files import read_yaml, validate

RowName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*/[a-z][a-z0-9_-]*$")]
Baseline = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*(/[a-z][a-z0-9_-]*)?$")]
FEW_SEEDS = 3  # fewer say little of another training
_SEED_SETTING = re.compile(r"[+~]*seed\b")


class Row(NamedTuple):
    """A model of a variant."""

    variant: str
    model: str

    def __str__(self) -> str:
        return f"{self.variant}/{self.model}"


class TableParams(Section):
    """A table: a row of it for each label, compared with the rows in `against`.

    A column for each measure, and one for each part of its prompts where it is split: by their
    skill, or by the category of the questions. A name in `against` without a variant is a model of
    the row's own variant. `paper` holds what is printed elsewhere, by label and column, beside
    ours; the column of a part is MEASURE/PART.
    """

    title: Place
    measures: Annotated[dict[Name, Literal["none", "skill", "category"]], Field(min_length=1)]
    rows: Annotated[dict[Place, RowName], Field(min_length=1)]
    against: dict[Place, Baseline]
    paper: dict[Place, dict[Place, float]]


class ClaimParams(Section):
    """A sentence, and the difference on a measure that would show it; `paper`: their number."""

    claim: Place
    measure: Name
    first: RowName
    second: RowName
    direction: Literal["greater", "less"]
    paper: float | None


class Study(Section):
    """A study file, every key of which must be there.

    `settings` are what `dvc exp run -S` takes, common to all variants and before their own;
    `targets` the DVC stages that are run, none for all; `trained_against` the measures that rows
    were trained or selected against: the others watch them.
    """

    name: Name
    question: Place
    seeds: Annotated[list[Seed], Field(min_length=1)]
    settings: list[Place]
    targets: list[Place]
    variants: Annotated[dict[Name, list[Place]], Field(min_length=1)]
    measures: Annotated[list[Name], Field(min_length=1)]
    trained_against: dict[RowName, Annotated[list[Name], Field(min_length=1)]]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    resamples: Annotated[int, Field(ge=100, le=10_000_000)]
    tables: Annotated[dict[Name, TableParams], Field(min_length=1)]
    claims: list[ClaimParams]

    def settings_of(self, variant: str, seed: int) -> list[str]:
        """List a run's settings, the seed last."""
        return [*self.settings, *self.variants[variant], f"seed={seed}"]

    def runs(self) -> list[tuple[str, int]]:
        """List variants and seeds in the order in which they are run."""
        return [(variant, seed) for variant in self.variants for seed in self.seeds]

    def rows(self) -> list[Row]:
        """List all rows of tables and claims, each once."""
        named = [
            row
            for table in self.tables.values()
            for label in table.rows
            for row in (row_of(table.rows[label]), *baselines(table, label).values())
        ]
        named += [row_of(end) for claim in self.claims for end in (claim.first, claim.second)]
        return list(dict.fromkeys(named))

    def pairs(self) -> list[tuple[Row, Row]]:
        """List all pairs of rows that tables and claims compare, each once."""
        named = [
            (row_of(table.rows[label]), baseline)
            for table in self.tables.values()
            for label in table.rows
            for baseline in baselines(table, label).values()
        ]
        named += [(row_of(claim.first), row_of(claim.second)) for claim in self.claims]
        return list(dict.fromkeys(named))

    def splits(self) -> dict[str, str]:
        """Say of each measure how a table splits its prompts; "none" if none does."""
        given = [table.measures for table in self.tables.values()]
        found = {name: by for measures in given for name, by in measures.items() if by != "none"}
        return {measure: found.get(measure, "none") for measure in self.measures}


def read_study(path: Path) -> Study:
    """Read and check a study's file; ConfigError lists every problem, MissingDataError: no file."""
    study = validate(Study, read_yaml(path), str(path))
    if problems := "; ".join(_problems(study)):
        raise ConfigError(f"{path}: {problems}")
    return study


def row_of(name: str) -> Row:
    return Row(*name.split("/"))


def baselines(table: TableParams, label: str) -> dict[str, Row]:
    """Find what a table's row is compared with, by column; not a row with itself."""
    row = row_of(table.rows[label])
    found = {
        title: row_of(name) if "/" in name else Row(row.variant, name)
        for title, name in table.against.items()
    }
    return {title: baseline for title, baseline in found.items() if baseline != row}


def _problems(study: Study) -> Iterator[str]:
    if len(set(study.seeds)) < len(study.seeds):
        yield f"seeds: each once, got {study.seeds}"
    if len(set(study.measures)) < len(study.measures):
        yield f"measures: each once, got {study.measures}"
    for row in study.rows():
        if row.variant not in study.variants:
            known = ", ".join(study.variants)
            yield f"row {row} names no variant; choose one of: {known}"
    for claim in study.claims:
        if claim.measure not in study.measures:
            known = ", ".join(study.measures)
            yield f"claim {claim.claim!r} names measure {claim.measure!r}; choose one of: {known}"
        if claim.first == claim.second:
            yield f"claim {claim.claim!r} compares {claim.first} with itself"
    watched = {first for first, _ in study.pairs()}
    for name, measures in study.trained_against.items():
        if row_of(name) not in study.rows():
            yield f"trained_against names {name}, which is no row of a table or claim"
        elif row_of(name) not in watched:
            yield f"trained_against names {name}, which no table or claim compares with another"
        if unknown := sorted(set(measures) - set(study.measures)):
            known = ", ".join(study.measures)
            yield f"trained_against.{name} names {', '.join(unknown)}; choose of: {known}"
    given = [study.settings, *study.variants.values()]
    for setting in [setting for settings in given for setting in settings]:
        if _SEED_SETTING.match(setting):
            yield f"setting {setting!r}: the seeds stand under `seeds`"
    for name, table in study.tables.items():
        yield from _table_problems(study, name, table)


def _table_problems(study: Study, name: str, table: TableParams) -> Iterator[str]:
    for measure, split in table.measures.items():
        if measure not in study.measures:
            known = ", ".join(study.measures)
            yield f"tables.{name}.measures names {measure!r}; choose of: {known}"
        elif split not in ("none", study.splits()[measure]):
            yield f"tables.{name}.measures.{measure}: another table splits it otherwise"
    columns = {*table.measures, *table.against}
    for label, numbers in table.paper.items():
        wholes = {key if key in columns else key.partition("/")[0] for key in numbers}
        if label not in table.rows or not wholes <= columns:
            known = f"rows {', '.join(table.rows)}; columns {', '.join(sorted(columns))}"
            yield f"tables.{name}.paper.{label}: no such row or column; there are {known}"
