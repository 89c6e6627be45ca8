"""Whether a result depends on who judged: several judges' scores of the same pictures.

Prompts are the unit; agreement on questions is over all questions of all pictures.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from selma.comparing import comparison, items
from selma.comparing.categories import question_table, split
from selma.comparing.comparison import Record
from selma.comparing.items import About, ItemScores, Rows
from selma.comparing.statistics import Bootstrap, Floats, compare_paired
from selma.core.errors import RecordError

JUDGE_KEYS = ("judge", "revision", "judge_settings", "preprocessing")
DECIMALS = 9  # further ones are rounding


@dataclass(frozen=True)
class Judged:
    """One judge's scores of one model's pictures, which are item and sample.

    The questions' scores, if the metric asks any, are by item, sample and question, sorted.
    """

    judge: str
    scores: ItemScores
    pictures: frozenset[tuple[str, int]]
    questions: "pd.Series[float]"


def judged_tables(model: str, tables: Sequence[tuple[Rows, About]]) -> list[Judged]:
    """Bring several judges' tables, rows and metadata, of one model's pictures together.

    Raises:
        MissingDataError: a table is empty.
        RecordError: the tables differ in more than the judge, two have the same judge, or they
            score different pictures.
    """
    abouts = [about for _, about in tables]
    models = sorted({str(a["t2i_model"]) for a in abouts if a.get("t2i_model") is not None})
    if len(models) > 1:
        raise RecordError(
            f"judges: the scores of {model} are of different models' pictures, t2i_model "
            f"{' and '.join(map(repr, models))}; give scores of one model's pictures"
        )
    found = [
        Judged(
            name,
            items.item_scores(str(items.measure_of(about)), model, rows, about),
            frozenset((row["item_id"], row["sample"]) for row in rows),
            question_table(rows).set_index(["item_id", "sample", "question_id"])["score"],
        )
        for name, (rows, about) in zip(judge_names(abouts), tables, strict=True)
    ]
    for other in found[1:]:
        _check_same_pictures(found[0], other)
    return found


def judge_names(abouts: Sequence[About]) -> list[str]:
    """Name judges by `judge_label` and settings in which equal names differ, or RecordError."""
    judges = [
        (items.judge_label(about), {**(about.get("judge_settings") or {}),
                                    "preprocessing": about.get("preprocessing")})
        for about in abouts
    ]  # fmt: skip
    names = []
    for label, own in judges:
        namesakes = [settings for other, settings in judges if other == label]
        shown = [
            f"{key}={own.get(key)}"
            for key in sorted(set().union(*namesakes))
            if len({json.dumps(settings.get(key), sort_keys=True) for settings in namesakes}) > 1
        ]
        name = f"{label} ({', '.join(shown)})" if shown else label
        if name in names:
            raise RecordError(f"judges: {name!r} judged twice; give each judge's scores once")
        names.append(name)
    return names


def judge_means(judged: Sequence[Judged], bootstrap: Bootstrap) -> list[Record]:
    """Estimate the mean of each judge's scores with its interval."""
    return [
        {
            **comparison.summarise_model(
                one.scores, items.ALL_SKILLS, bootstrap, kind="judge", part=one.judge
            ),
            "judge": one.judge,
            "n_pictures": len(one.pictures),
            "n_questions": len(one.questions),
        }
        for one in judged
    ]


def judge_pairs(judged: Sequence[Judged], bootstrap: Bootstrap) -> list[Record]:
    """Say how much each two judges differ and agree on the same pictures.

    That is: the paired difference first − second; Pearson's and Spearman's correlation over
    prompts; the share of questions with equal scores and Cohen's kappa. None where one is not
    defined: a judge gives all prompts one score, or asks no questions.
    """
    return [_pair(one, other, bootstrap) for one, other in itertools.combinations(judged, 2)]


def model_differences(
    first: Sequence[Judged], second: Sequence[Judged], bootstrap: Bootstrap
) -> list[Record]:
    """Compare two models under each judge, the same for both: first − second, with a verdict."""
    return [
        {**record, "judge": one.judge}
        for one, other in _by_judge(first, second)
        for record in comparison.compare_parts(
            split(one.scores, by="none"), split(other.scores, by="none"), bootstrap
        )
    ]


def judge_shifts(
    first: Sequence[Judged], second: Sequence[Judged], bootstrap: Bootstrap
) -> list[Record]:
    """Say for each two judges whether they see a different gain: (A − B) under one − under other.

    This, and not two different verdicts, says whether the difference depends on the judge.
    """
    gains = {}
    for mine, theirs in _by_judge(first, second):
        one, baseline, _ = items.on_common_items(mine.scores, theirs.scores)
        gains[mine.judge] = one.values - baseline.values
    return [
        _difference(
            ("judge-shift", one.scores.measure),
            one,
            other,
            (gains[one.judge], gains[other.judge]),
            bootstrap,
        )
        for one, other in itertools.combinations(first, 2)
    ]


def conclusion(records: Sequence[Record]) -> str:
    """Say whether all verdicts are undecided, all the same, some reversed, or not all decided."""
    verdicts = {record["verdict"] for record in records}
    if verdicts == {comparison.UNDECIDED}:
        return "none decides"
    if len(verdicts) == 1:
        return "same"
    return "reversed" if {comparison.BETTER, comparison.WORSE} <= verdicts else "not all decided"


def cohens_kappa(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Compute the agreement beyond chance of two raters; None if both only ever give one label."""
    from sklearn.metrics import cohen_kappa_score

    labels = [list(map(str, side)) for side in (first, second)]
    return None if len({*labels[0], *labels[1]}) == 1 else float(cohen_kappa_score(*labels))


def _pair(one: Judged, other: Judged, bootstrap: Bootstrap) -> Record:
    from scipy.stats import pearsonr, spearmanr

    names = ("judges", one.scores.measure, one.scores.model)
    labels, others = one.questions.to_numpy(), other.questions.to_numpy()
    first, second = one.scores.values, other.scores.values
    # Defined only where both judges' scores vary; equal up to rounding is equal.
    varied = np.ptp(first) > 0 and np.ptp(second) > 0
    ranked = np.round(first, DECIMALS), np.round(second, DECIMALS)
    return {
        **_difference(names, one, other, (first, second), bootstrap),
        "pearson": float(pearsonr(first, second).statistic) if varied else None,
        "spearman": float(spearmanr(*ranked).statistic) if varied else None,
        "equal_questions": float(np.mean(labels == others)) if len(labels) else None,
        "kappa": cohens_kappa(labels, others) if len(labels) else None,
        "n_questions": len(labels),
    }


def _difference(
    names: Sequence[str],
    one: Judged,
    other: Judged,
    values: tuple[Floats, Floats],
    bootstrap: Bootstrap,
) -> Record:
    named = bootstrap.named(*names, one.judge, other.judge)
    result = compare_paired(*values, one.scores.weights, named)
    pair = {"first": one.judge, "second": other.judge, "unit": one.scores.about["unit"]}
    return {**pair, **asdict(result)}


def _by_judge(first: Sequence[Judged], second: Sequence[Judged]) -> list[tuple[Judged, Judged]]:
    """Pair two models' scores by judge, in the order of the first."""
    mine, others = (
        {json.dumps([one.scores.about.get(key) for key in JUDGE_KEYS], sort_keys=True): one
         for one in side}
        for side in (first, second)
    )  # fmt: skip
    unpaired = [({**others, **mine})[key].judge for key in sorted({*mine} ^ {*others})]
    if unpaired:
        raise RecordError(
            f"judges: {unpaired[0]!r} judged only one of the two models; both need the same judges"
        )
    return [(one, others[key]) for key, one in mine.items()]


def _check_same_pictures(first: Judged, second: Judged) -> None:
    items.check_same_making(first.scores, second.scores, may_differ=JUDGE_KEYS)
    names = f"judges: {first.judge} and {second.judge}"
    unpaired = sorted(first.pictures ^ second.pictures)
    if unpaired:
        raise RecordError(
            f"{names}: {len(unpaired)} pictures are scored by only one of them, first item "
            f"{unpaired[0][0]!r} sample {unpaired[0][1]}; have both judge the same pictures"
        )
    lost = sorted({*first.questions.index} ^ {*second.questions.index})
    if lost:
        raise RecordError(
            f"{names}: {len(lost)} questions are answered by only one of them, first item "
            f"{lost[0][0]!r} sample {lost[0][1]} question {lost[0][2]}; use one benchmark"
        )
    items.on_common_items(first.scores, second.scores)
