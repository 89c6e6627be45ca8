"""The experiments of a study stand below one run of its name."""

import json

import pytest

from selma.tracking.store import Store
from selma.tracking.studies import RUNS, STUDY, group_studies
from selma.tracking.sync import EXPERIMENT, PARENT, SUPERSEDED

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_runs_of_a_study_get_one_run_above_them_once(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}", "selma", None)
    home = tmp_path / "studies"
    (home / "ranks").mkdir(parents=True)
    for name in ("ranks-low-0-aa", "ranks-low-1-bb", "ranks-gone-0-cc"):
        (home / "ranks" / f"{name}.json").write_text("{}")
    for name, tags in {
        "ranks-low-0-aa": {}, "ranks-low-1-bb": {}, "other": {},
        "ranks-gone-0-cc": {SUPERSEDED: "changed params"},
    }.items():  # fmt: skip
        store.create(name, 100.0, {EXPERIMENT: name, **tags})
    group_studies(store, home)
    runs = {run.name: run for run in store.runs()}
    above = runs["study ranks"]
    assert (above.tags[STUDY], above.status, above.started_ms) == ("ranks", "FINISHED", 100_000)
    assert json.loads(above.tags[RUNS]) == ["ranks-low-0-aa", "ranks-low-1-bb"]
    below = {name for name, run in runs.items() if run.tags.get(PARENT) == above.run_id}
    assert below == {"ranks-low-0-aa", "ranks-low-1-bb"}
    changes = store.changes
    group_studies(store, home)
    assert store.changes == changes


def test_without_a_study_nothing_is_written(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}", "selma", None)
    group_studies(store, tmp_path / "studies")
    assert store.changes == 0 and store.runs() == []
