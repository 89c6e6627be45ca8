"""The act of scoring answers: they become scores that say what they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from selma.core.errors import ConfigError
from selma.measuring.naming import Row, Scores, describe_measure
from selma.metrics.dsg import score_dsg
from selma.metrics.tifa import load_mapping, score_tifa


def score_answers(
    kind: str,
    benchmark: Sequence[Row],
    answers: Sequence[Row],
    judge_about: Mapping[str, Any] | None,
    *,
    settings: Mapping[str, Any],
    measure: str,
    title: str,
    benchmark_name: str,
    no_answer_max: float,
    allow_partial: bool = False,
) -> Scores:
    """Score a judge's answers by DSG or TIFA; no model runs, but for TIFA's mapping sbert.

    Args:
        kind: "dsg" or "tifa".
        benchmark: rows of a benchmark table.
        answers: rows of an answers table, of one judge.
        judge_about: what that table says of its judge; None if it says nothing.
        settings: DSG's policy and mean; TIFA's mapping and sbert_path.
        measure: name of the row of params, or the metric.
        title: as people read it.
        benchmark_name: kept with the scores.
        no_answer_max: share of replies that may be no answer.
        allow_partial: leave out pictures that lack an answer, instead of refusing.

    Raises:
        ConfigError: there is no such kind, policy, mean or mapping.
        MissingDataError: an answer is missing.
        RecordError: an answer belongs to no question, or too many replies are no answer.
    """
    common: dict[str, Any] = {"judge_about": judge_about, "allow_partial": allow_partial}
    common["no_answer_max"] = no_answer_max
    if kind == "dsg":
        rows, about = score_dsg(benchmark, answers, **settings, **common)
    elif kind == "tifa":
        mapping = load_mapping(settings["mapping"], settings["sbert_path"], benchmark, answers)
        rows, about = score_tifa(benchmark, answers, mapping=mapping, **common)
    else:
        raise ConfigError(f"unknown kind of measure {kind!r}; choose one of: dsg, tifa")
    return rows, about | describe_measure(measure, title, benchmark_name, benchmark)
