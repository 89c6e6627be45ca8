"""A study's runs for others: as a bundle of git beside its file, and score tables in DVC's remote.

So whoever clones the repository can print a study's tables, or add to them, and computes nothing.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from selma.core.errors import BackendError, ConfigError
from selma.studies.experiments import Plan
from selma.studies.git import bundle_experiments, experiments, take_bundled
from selma.studies.study_file import Study
from selma.studies.workplace import has_remote

logger = logging.getLogger(__name__)


def bundle_of(study_file: Path) -> Path:
    return study_file.with_suffix(".bundle")


def release_runs(
    study: Study, plan: Plan, revisions: Mapping[str, str], root: Path, bundle: Path
) -> int:
    """Write the experiments, whose commits are given by name, to a bundle; push their score tables.

    Returns how many files were pushed. ConfigError: DVC has no default remote.
    """
    if not has_remote(root):
        raise ConfigError("DVC has no default remote to push the score tables to; `dvc remote add`")
    from dvc.repo import Repo

    from selma.studies.results import table_paths

    pushed = 0
    with Repo(str(root)) as repo:
        for experiment in plan.experiments:
            revision = revisions[experiment.name]
            paths = [path for _, _, path in table_paths(study, experiment.variant)]
            pushed += repo.push(targets=paths, revs=[revision], workspace=False)
    part = bundle.with_name(f"{bundle.name}.part")
    bundle_experiments(root, set(revisions), part)
    os.replace(part, bundle)
    return pushed


def take_released(plan: Plan, root: Path, bundle: Path) -> None:
    """Take runs that are not here from a bundle, if there is one that git can read here."""
    names = {one.name for one in plan.experiments}
    if not bundle.exists() or not names - set(experiments(root, names)):
        return
    try:
        take_bundled(root, bundle)
    except BackendError as error:
        logger.warning("%s: its runs are not taken: %s", bundle, error)
