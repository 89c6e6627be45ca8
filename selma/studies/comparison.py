"""What a study found: its rows' scores, their differences with verdicts, marks and claims."""

from collections.abc import Mapping
from typing import Any

from selma.comparing.hacking import hacking_mark
from selma.comparing.seed_comparison import (
    SeedScores,
    claim_verdict,
    compare_rows,
    family_size,
    judge_family,
    row_score,
)
from selma.comparing.statistics import Bootstrap
from selma.core.errors import ConfigError
from selma.studies.study_file import FEW_SEEDS, Row, Study, TableParams, baselines, row_of

Record = dict[str, Any]
Scores = Mapping[tuple[str, Row], SeedScores]


def compare_study(study: Study, scores: Scores, *, seed: int = 0) -> Record:
    """Estimate all rows and differences; plain values, as for JSON.

    The differences of a table are one family for Holm's adjustment, whatever the measure; the
    claims, which were written down before anything ran, are another, and so are the differences of
    rows that were trained against a measure, on all measures, which carry the hacking alarm.

    Raises:
        ConfigError: a table splits a measure that has no such parts, or holds a paper's number for
            a part that no measure has.
        RecordError, MissingDataError: two rows were not scored on the same prompts in one way.
    """
    how = Bootstrap(study.resamples, study.confidence, seed)
    tables = {name: _table(study, name, scores, how) for name in study.tables}
    return {
        "name": study.name,
        "question": study.question,
        "seeds": study.seeds,
        "measures": {name: _described(study, name, scores) for name in study.measures},
        "confidence": study.confidence,
        "resamples": study.resamples,
        "tables": tables,
        "claims": _claims(study, scores, how),
        "hacking": _hacking_marks(study, scores, how),
        "few_seeds": len(study.seeds) < FEW_SEEDS,
    }


def _table(study: Study, name: str, scores: Scores, how: Bootstrap) -> Record:
    table = study.tables[name]
    columns = _columns(study, name, table, scores)
    rows: dict[str, Record] = {}
    differences: list[Record] = []
    for label, row_name in table.rows.items():
        row = row_of(row_name)
        rows[label] = {
            "row": row_name,
            "scores": {column: row_score(scores[column, row], how) for column in columns},
            "paper": table.paper.get(label, {}),
            "trained_against": list(study.trained_against.get(row_name, ())),
        }
        for title, baseline in baselines(table, label).items():
            for column in columns:
                found = compare_rows(scores[column, row], scores[column, baseline], how)
                trained = _is_trained(study, column, row, baseline)
                place = {"label": label, "against": title, "trained": trained}
                differences.append({**found, **place})
    judged = judge_family(differences)
    for label, row_record in rows.items():
        own = [record for record in judged if record["label"] == label]
        row_record["differences"] = {
            title: {r["measure"]: r for r in own if r["against"] == title}
            for title in table.against
        }
    return {
        "title": table.title,
        "measures": {column: _described(study, column, scores) for column in columns},
        "against": list(table.against),
        "rows": rows,
        "family": family_size(judged),
    }


def _columns(study: Study, name: str, table: TableParams, scores: Scores) -> list[str]:
    """List a table's measures, each before its parts, which all rows have to share."""
    first, *others = study.rows()
    columns: list[str] = []
    for measure, split in table.measures.items():
        columns.append(measure)
        if split == "none":
            continue
        parts = _parts(scores, measure, first)
        for row in others:
            if unlike := sorted(set(parts) ^ set(_parts(scores, measure, row))):
                raise ConfigError(
                    f"tables.{name}.measures.{measure}: {first} and {row} do not share "
                    f"{', '.join(unlike)}; say none, or score them on the same prompts"
                )
        if not parts:
            raise ConfigError(
                f"tables.{name}.measures.{measure}: its scores have no {split}; say none"
            )
        columns += parts
    known = {*columns, *table.against}
    for label, numbers in table.paper.items():
        if unknown := sorted(set(numbers) - known):
            raise ConfigError(
                f"tables.{name}.paper.{label}: no column {', '.join(unknown)}; there are "
                f"{', '.join(sorted(known))}"
            )
    return columns


def _parts(scores: Scores, measure: str, row: Row) -> list[str]:
    return [key for key, other in scores if other == row and key.startswith(f"{measure}/")]


def _claims(study: Study, scores: Scores, how: Bootstrap) -> list[Record]:
    found = [
        compare_rows(
            scores[claim.measure, row_of(claim.first)],
            scores[claim.measure, row_of(claim.second)],
            how,
        )
        for claim in study.claims
    ]
    return [
        {
            **record,
            "claim": claim.claim,
            "direction": claim.direction,
            "paper": claim.paper,
            "trained": _is_trained(study, claim.measure, claim.first, claim.second),
            "claim_verdict": claim_verdict(record, greater=claim.direction == "greater"),
        }
        for claim, record in zip(study.claims, judge_family(found), strict=True)
    ]


def _is_trained(study: Study, column: str, *rows: Row | str) -> bool:
    """Tell whether one of some rows was trained against a column's measure."""
    measure = column.partition("/")[0]
    return any(measure in study.trained_against.get(str(row), ()) for row in rows)


def _hacking_marks(study: Study, scores: Scores, how: Bootstrap) -> list[Record]:
    """Mark each pair whose first row was trained against a measure, as `hacking_mark` does."""
    watched = [pair for pair in study.pairs() if str(pair[0]) in study.trained_against]
    judged = judge_family(
        [
            compare_rows(scores[measure, first], scores[measure, second], how)
            for first, second in watched
            for measure in study.measures
        ]
    )
    marks = []
    for first, second in watched:
        names = str(first), str(second)
        own = {r["measure"]: r for r in judged if (r["first"], r["second"]) == names}
        trained, other = (study.trained_against.get(name, ()) for name in names)
        mark = hacking_mark(own, trained, other)
        marks.append({**dict(zip(("first", "second"), names, strict=True)), **mark,
                      "family": family_size(judged), "differences": own})  # fmt: skip
    return marks


def _described(study: Study, measure: str, scores: Scores) -> Record:
    """Say what a measure is, or a part of one, whose title is the part's name."""
    one = scores[measure, study.rows()[0]].one
    title = measure.partition("/")[2] or one.about.get("title", measure)
    return {"title": title, "unit": one.about["unit"], **one.made_by}
