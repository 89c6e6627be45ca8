"""What a study found: its rows' scores, their differences with verdicts, and its claims."""

from collections.abc import Mapping
from typing import Any

from selma.comparing.seed_comparison import (
    SeedScores,
    claim_verdict,
    compare_rows,
    judge_family,
    row_score,
)
from selma.comparing.statistics import Bootstrap
from selma.studies.study_file import FEW_SEEDS, Row, Study, TableParams, baselines, row_of

Record = dict[str, Any]
Scores = Mapping[tuple[str, Row], SeedScores]


def compare_study(study: Study, scores: Scores, *, seed: int = 0) -> Record:
    """Estimate all rows and differences; plain values, as for JSON.

    The differences of a table are one family for Holm's adjustment, whatever the measure; the
    claims, which were written down before anything ran, are another.
    """
    how = Bootstrap(study.resamples, study.confidence, seed)
    tables = {name: _table(study, table, scores, how) for name, table in study.tables.items()}
    return {
        "name": study.name,
        "question": study.question,
        "seeds": study.seeds,
        "measures": {name: _described(study, name, scores) for name in study.measures},
        "confidence": study.confidence,
        "resamples": study.resamples,
        "tables": tables,
        "claims": _claims(study, scores, how),
        "few_seeds": len(study.seeds) < FEW_SEEDS,
    }


def _table(study: Study, table: TableParams, scores: Scores, how: Bootstrap) -> Record:
    rows: dict[str, Record] = {}
    differences: list[Record] = []
    for label, name in table.rows.items():
        row, paper = row_of(name), table.paper.get(label, {})
        estimates = {m: row_score(scores[m, row], how) for m in study.measures}
        rows[label] = {"row": name, "scores": estimates, "paper": paper}
        for title, baseline in baselines(table, label).items():
            for measure in study.measures:
                found = compare_rows(scores[measure, row], scores[measure, baseline], how)
                differences.append({**found, "label": label, "against": title})
    judged = judge_family(differences)
    for label, row_record in rows.items():
        own = [record for record in judged if record["label"] == label]
        row_record["differences"] = {
            title: {r["measure"]: r for r in own if r["against"] == title}
            for title in table.against
        }
    return {"title": table.title, "against": list(table.against), "rows": rows,
            "family": len(judged)}  # fmt: skip


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
            "claim_verdict": claim_verdict(record, greater=claim.direction == "greater"),
        }
        for claim, record in zip(study.claims, judge_family(found), strict=True)
    ]


def _described(study: Study, measure: str, scores: Scores) -> Record:
    about = scores[measure, study.rows()[0]].one.about
    return {"title": about.get("title", measure), "unit": about["unit"],
            **scores[measure, study.rows()[0]].one.made_by}  # fmt: skip
