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
    """Score one judge's answers by DSG or TIFA; no model runs, but for TIFA's mapping sbert.

    The settings are DSG's policy and mean, or TIFA's mapping and sbert_path; `judge_about` is what
    the answers table says of its judge, None if it says nothing. `measure` is the name of the row
    of params, or the metric; `title` its name for people. `no_answer_max` is the share of replies
    that may be no answer; `allow_partial` leaves out pictures that lack one, instead of refusing.

    Raises:
        ConfigError: there is no such kind, policy, mean or mapping.
        MissingDataError: an answer is missing.
        RecordError: an answer belongs to no question, or too many replies are no answer.
    """
    common: dict[str, Any] = {
        "judge_about": judge_about, "allow_partial": allow_partial, "no_answer_max": no_answer_max
    }  # fmt: skip
    if kind == "dsg":
        rows, about = score_dsg(benchmark, answers, **settings, **common)
    elif kind == "tifa":
        mapping = load_mapping(settings["mapping"], settings["sbert_path"], benchmark, answers)
        rows, about = score_tifa(benchmark, answers, mapping=mapping, **common)
    else:
        raise ConfigError(f"unknown kind of measure {kind!r}; choose one of: dsg, tifa")
    return rows, about | describe_measure(measure, title, benchmark_name, benchmark)
