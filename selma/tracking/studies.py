"""A run in MLflow above the runs of each study."""

import json
import time
from pathlib import Path

from selma.tracking.store import Run, Store
from selma.tracking.sync import EXPERIMENT, PARENT, SUPERSEDED

STUDY, RUNS = "selma.study", "selma.study_runs"


def group_studies(store: Store, folder: Path) -> None:
    """Put the runs of each study that was run here below a run of its name.

    `folder` holds a folder for each study, with a record NAME.json for each of its experiments. A
    second call with the same records changes nothing.
    """
    studies = {
        home.name: {record.stem for record in home.glob("*.json")}
        for home in sorted(folder.glob("*"))
        if home.is_dir()
    }
    if not any(studies.values()):
        return
    runs = store.runs()
    for name, experiments in studies.items():
        own = [
            run
            for run in runs
            if run.tags.get(EXPERIMENT) in experiments and SUPERSEDED not in run.tags
        ]
        if own:
            _group(store, runs, name, own)


def _group(store: Store, runs: list[Run], name: str, own: list[Run]) -> None:
    started = min(run.started_ms for run in own) / 1000
    above = next((run for run in runs if run.tags.get(STUDY) == name), None)
    parent = above or store.create(f"study {name}", started, {STUDY: name})
    for run in own:
        store.tag(run, PARENT, parent.run_id)
    store.tag(parent, RUNS, json.dumps(sorted(run.name for run in own)))
    store.set_status(parent, "FINISHED", time.time())
