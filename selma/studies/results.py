"""A study's scores, read from its experiments through DVC; nothing is checked out."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from selma.comparing.categories import split
from selma.comparing.items import ALL_SKILLS, ItemScores, item_scores
from selma.comparing.seed_comparison import SeedScores, over_seeds
from selma.core.errors import MissingDataError, SelmaError, one_line
from selma.core.tables import read_about, read_table
from selma.studies.experiments import Plan
from selma.studies.study_file import Row, Study

SCORES = "data/scores"


def read_scores(
    study: Study, plan: Plan, revisions: Mapping[str, str], root: Path
) -> dict[tuple[str, Row], SeedScores]:
    """Read the scores of all rows on all measures, with all seeds, and of the parts of a measure.

    Keys are (measure, row) and, where a table splits a measure, (MEASURE/PART, row). `revisions`
    are the experiments' commits by name. What is not in DVC's cache is fetched.

    Raises:
        MissingDataError: an experiment has no such table, or it is neither cached nor in a remote.
        RecordError: a row was not scored on the same prompts in one way with all seeds.
    """
    by_seed: dict[tuple[str, Row], dict[int, ItemScores]] = {}
    splits = study.splits()
    for experiment in plan.experiments:
        wanted = table_paths(study, experiment.variant)
        read = _read_tables(root, revisions[experiment.name], wanted, experiment.name, splits)
        for key, scores in read.items():
            by_seed.setdefault(key, {})[experiment.seed] = scores
    return {key: over_seeds(str(key[1]), seeds) for key, seeds in by_seed.items()}


def table_paths(study: Study, variant: str) -> list[tuple[str, Row, str]]:
    """List (measure, row, path of its score table) of all that is compared of a variant."""
    rows = [row for row in study.rows() if row.variant == variant]
    return [
        (measure, row, f"{SCORES}/{measure}/{row.model}.parquet")
        for measure in study.measures
        for row in rows
    ]


def _read_tables(
    root: Path,
    revision: str,
    wanted: list[tuple[str, Row, str]],
    name: str,
    splits: Mapping[str, str],
) -> dict[tuple[str, Row], ItemScores]:
    from dvc.api import DVCFileSystem

    files = DVCFileSystem(str(root), rev=revision)
    found: dict[tuple[str, Row], ItemScores] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for measure, row, path in wanted:
            copy = Path(scratch) / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                files.get_file(f"/{path}", str(copy))
            except Exception as error:  # DVC's remotes raise what their libraries raise
                raise MissingDataError(
                    f"{name}: cannot read {path} ({one_line(error) or type(error).__name__}); is "
                    f"{row.model!r} a model and {measure!r} a measure of {row.variant}? else "
                    f"`dvc exp remove {name}`, and `selma study run` makes it anew; put a bundle "
                    "that holds it aside first"
                ) from error
            try:
                rows, about = read_table(copy, "scores"), read_about(copy)
            except SelmaError as error:
                raise type(error)(f"{name}: {str(error).replace(str(copy), path)}") from error
            whole = item_scores(measure, str(row), rows, about)
            for part, scores in split(whole, rows, splits[measure]).items():
                key = measure if part == ALL_SKILLS else f"{measure}/{part}"
                found[key, row] = replace(scores, measure=key)
    return found
