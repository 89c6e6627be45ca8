"""Runs one preference scorer over one model's pictures: samples table in, scores table out."""

import logging
from pathlib import Path

from selma.choices import choose
from selma.evaluation.preference import SCORERS, score_samples
from selma.runtime import progress
from selma.tables import read_table, write_table

logger = logging.getLogger(__name__)


def score_table(
    metric: str, samples: Path, out: Path, *, directory: str, version: str, batch_size: int
) -> None:
    """Score every picture of a samples table.

    Args:
        metric: a key of `SCORERS`.
        samples: the table to read.
        out: the scores table to write.
        directory: the scorer's weights, kept in the details as who judged.
        version: what the score is, kept in the details.
        batch_size: pictures at a time.

    Raises:
        MissingDataError: the table or the weights are not there.
        RecordError: they cannot be read.
    """
    rows = read_table(samples, "samples")
    scorer = choose("preference scorer", metric, SCORERS)(Path(directory), version)
    with progress(len(rows), f"{metric} {samples.parent.name}") as advance:
        scores = score_samples(
            rows, scorer, metric=metric, judge=directory, batch_size=batch_size, advance=advance
        )
    write_table(out, "scores", scores)
    mean = sum(row["score"] for row in scores) / max(1, len(scores))
    logger.info("%s of %d pictures: mean %.4f, wrote %s", metric, len(scores), mean, out)
