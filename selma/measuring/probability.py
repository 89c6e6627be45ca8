"""The act of scoring pictures by VQAScore: a chat model's probability of "Yes"."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from selma.measuring.naming import TITLES, Row, Scores, describe_measure
from selma.measuring.preferring import picture_coverage, scored_rows
from selma.pictures.checks import PictureSet


def score_by_probability(
    benchmark: Sequence[Row],
    pictures: PictureSet,
    *,
    settings: Any,
    variant: str,
    benchmark_name: str,
    advance: Callable[[int], None],
) -> Scores:
    """Score pictures by VQAScore: a chat model's probability of "Yes".

    The settings are the chat model's `JudgeSettings`, the variant a key of `vqascore.VARIANTS`.
    """
    from selma.judges.chat.vqascore import load_vqascore
    from selma.judges.loading import describe_judge
    from selma.pictures.png import picture_of

    scorer = load_vqascore(settings, variant)
    sources = {row["item_id"]: row["source"] for row in benchmark}
    samples, size = scored_rows(benchmark, pictures, None), settings.questions_per_batch
    rows: list[dict[str, Any]] = []
    for start in range(0, len(samples), size):
        batch = samples[start : start + size]
        scores = scorer([picture_of(row) for row in batch], [row["prompt"] for row in batch])
        rows += [
            {
                **{key: row[key] for key in ("item_id", "sample")},
                "source": sources[row["item_id"]],
                "score": score,
                "weight": 1.0,
                "details": "{}",
            }
            for row, score in zip(batch, scores, strict=True)
        ]
        advance(len(batch))
    described = describe_judge(scorer.about, settings)
    about = {
        "factor": 1.0,
        "judge": described["path"],
        "judge_settings": described,
        "libraries": described.pop("libraries", {}),
        "metric": "vqascore",
        "policy": variant,
        "preprocessing": json.dumps(described.pop("preprocessing")),
        "revision": described["revision"],
        "unit": "probability",
        "version": "arXiv 2404.01291",
    }
    named = describe_measure("vqascore", TITLES["vqascore"], benchmark_name, benchmark)
    return rows, about | picture_coverage(pictures, rows) | named
