"""A study's runs for others: as a bundle of git beside its file, and score tables in DVC's remote.

So whoever clones the repository can print a study's tables, or add to them, and computes nothing.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selma.core.errors import BackendError, ConfigError
from selma.studies.experiments import Experiment, Plan
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

    tables = set()
    for experiment in plan.experiments:
        tables |= _tables_of(study, experiment, root, revisions[experiment.name])
    with Repo(str(root)) as repo:  # not `repo.push(revs=…)`: a relative remote would be under /
        sent = repo.cloud.push(tables)
    if sent.failed:
        raise BackendError(f"{len(sent.failed)} score tables could not be pushed to DVC's remote")
    part = bundle.with_name(f"{bundle.name}.part")
    bundle_experiments(root, set(revisions), part)
    os.replace(part, bundle)
    return len(sent.transferred)


def take_released(plan: Plan, root: Path, bundle: Path) -> None:
    """Take runs that are not here from a bundle, if there is one that git can read here."""
    names = {one.name for one in plan.experiments}
    if not bundle.exists() or not names - set(experiments(root, names)):
        return
    try:
        take_bundled(root, bundle)
    except BackendError as error:
        logger.warning("%s: its runs are not taken: %s", bundle, error)


def _tables_of(study: Study, experiment: Experiment, root: Path, revision: str) -> set[Any]:
    """Find what to push of DVC's outputs, files and folders, in which a run's score tables lie."""
    from dvc.api import DVCFileSystem

    from selma.studies.results import table_paths

    there = DVCFileSystem(str(root), rev=revision).repo
    paths = [Path(there.root_dir, path) for _, _, path in table_paths(study, experiment.variant)]
    holding = {place for path in paths for place in (path, *path.parents)}
    used = [out.get_used_objs() for out in there.index.outs if Path(out.fs_path) in holding]
    return {file for by_cache in used for files in by_cache.values() for file in files}
