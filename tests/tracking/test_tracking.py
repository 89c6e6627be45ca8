"""Journals, DVC's lock and DVC's experiments become MLflow runs, once."""

import hashlib
import json

import pytest

from selma.tracking.command import describe
from selma.tracking.journals import Session, read_sessions
from selma.tracking.sync import FINGERPRINT, PARENT, STAGES, SUPERSEDED, sync
from selma.tracking.variants import Variant, parse_experiments, parse_lock, workspace_variant

CURVE = b"step,loss\n10,0.5\n20,0.25\n"
MD5 = hashlib.md5(CURVE).hexdigest()


def lock(rank=16, md5=MD5):
    return f"""schema: '2.0'
stages:
  lora@count:
    cmd: python -m stages.lora --skill count
    deps:
    - {{path: data/images/count.parquet, hash: md5, md5: abc, size: 1}}
    params:
      params.yaml: {{lora.rank: {rank}}}
    outs:
    - {{path: plots/loss/count.csv, hash: md5, md5: {md5}, size: 1}}
  merge:
    cmd: python -m stages.merge
    deps:
    - {{path: models/lora/count.safetensors, hash: md5, md5: def{rank}, size: 1}}
    outs:
    - {{path: metrics/merge.json, hash: md5, md5: no, size: 1}}
"""


def write_journal(root, run, stage, pid, *events, start=100.0):
    folder = root / ".selma" / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    common = {"time": start, "pid": pid}
    lines = [{"event": "start", "stage": stage, "argv": []}, *events]
    text = "".join(json.dumps({**common, **line}) + "\n" for line in lines)
    (folder / f"{stage}-{pid}.jsonl").write_text(text)


PARAMS = {"event": "params", "fingerprint": "f", "values": {"lora": {"rank": 16}, "seed": 0}}
POINT = {"event": "metric", "name": "speed@gpu", "step": 3, "value": 2.0}
END = {"event": "end", "stage": "lora@count", "status": "finished", "time": 160.0}


def test_a_journal_is_read_with_params_points_and_end(tmp_path):
    write_journal(tmp_path, "workspace", "lora@count", 7, PARAMS, POINT, END)
    (session,) = read_sessions(tmp_path / ".selma/runs")
    assert (session.run, session.stage, session.pid) == ("workspace", "lora@count", 7)
    assert (session.started, session.ended, session.status) == (100.0, 160.0, "finished")
    assert session.params == {"lora.rank": "16", "seed": "0"}
    assert [(point.step, point.value) for point in session.points] == [(3, 2.0)]


def test_a_line_that_a_killed_process_left_half_written_costs_only_itself(tmp_path):
    write_journal(tmp_path, "workspace", "lora@count", 7, PARAMS)
    path = next(tmp_path.rglob("*.jsonl"))
    path.write_text(path.read_text() + '{"event": "met')
    (session,) = read_sessions(tmp_path / ".selma/runs")
    assert session.status == "" and session.params


def test_a_process_id_that_comes_again_is_another_session(tmp_path):
    write_journal(
        tmp_path, "workspace", "merge", 7, END, {"event": "start", "stage": "merge", "time": 200.0}
    )
    first, second = read_sessions(tmp_path / ".selma/runs")
    assert first.key != second.key
    assert (first.status, second.status) == ("finished", "")


def test_a_stages_fingerprint_follows_command_deps_and_params_and_nothing_else():
    one, other, same = parse_lock(lock()), parse_lock(lock(rank=32)), parse_lock(lock(md5="x"))
    assert one["lora@count"].fingerprint != other["lora@count"].fingerprint
    assert one["lora@count"].fingerprint == same["lora@count"].fingerprint
    assert one["lora@count"].outs == {"plots/loss/count.csv": MD5}


def test_experiments_are_read_with_the_lock_of_their_commit():
    data = {
        "params": {"params.yaml": {"data": {"lora": {"rank": 32}}}},
        "metrics": {"metrics/metrics.json": {"data": {"dsg": 70.5, "note": "x"}}},
    }
    shown = [
        {"rev": "workspace", "experiments": None},
        {"rev": "basis", "experiments": [
            {"revs": [{"rev": "e1", "name": "r32", "data": data}]},
            {"revs": [{"rev": "e2", "name": "broken", "data": None}]},
        ]},
    ]  # fmt: skip
    (variant,) = parse_experiments(json.dumps(shown).encode(), lambda rev, path: lock(32).encode())
    assert (variant.name, variant.revision, variant.baseline) == ("r32", "e1", "basis")
    assert (variant.params, variant.metrics) == ({"lora.rank": "32"}, {"dsg": 70.5})
    assert variant.stages == parse_lock(lock(32))


def test_a_workspace_without_git_lock_or_metrics_is_still_a_variant(tmp_path):
    variant = workspace_variant(tmp_path)
    assert variant.name.startswith("repro-")
    assert (variant.params, variant.metrics, variant.stages) == ({}, {}, {})


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def store(uri, request):
    from selma.tracking.store import Store

    return lambda: Store(uri, request.node.name, None)


def variant(name="repro-1", run="workspace", revision="", rank=16, **changes):
    files = {"plots/loss/count.csv": CURVE, "metrics/merge.json": b"{}"}
    values = {
        "name": name, "run": run, "revision": revision, "baseline": "",
        "params": {"lora.rank": str(rank)}, "metrics": {"dsg": 70.5},
        "stages": parse_lock(lock(rank)), "read": files.get,
    }  # fmt: skip
    return Variant(**{**values, **changes})


def session(stage="lora@count", run="workspace", pid=7, status="finished", start=100.0):
    ended = start + 60 if status else None
    return Session(f"{run}/{stage}-{pid}@{start}", run, stage, pid, start, ended, status)


def bring(store, variants, sessions, alive=()):
    opened = store()
    summaries = sync(opened, variants, sessions, lambda pid: pid in alive, 1000.0)
    return opened, summaries, {run.name: run for run in opened.runs()}


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_a_stage_that_ran_is_a_child_with_its_loss_curve(store):
    opened, (summary,), runs = bring(store, [variant()], [session()])
    child, parent = runs["lora@count"], runs["repro-1"]
    assert child.tags[PARENT] == parent.run_id
    assert (child.status, child.metrics) == ("FINISHED", {"loss": 0.25})
    history = opened._client.get_metric_history(child.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(10, 0.5), (20, 0.25)]
    assert (parent.params, parent.metrics) == ({"lora.rank": "16"}, {"dsg": 70.5})
    assert json.loads(parent.tags[STAGES]) == {"lora@count": "ran", "merge": "cached"}
    assert describe(summary) == "repro-1  FINISHED  1 cached, 1 ran  dsg=70.5"


def test_a_second_sync_changes_nothing(store):
    arguments = [variant()], [session(), session("merge", pid=8, start=200.0)]
    first, *_ = bring(store, *arguments)
    second, *_ = bring(store, *arguments)
    assert first.changes > 0
    assert second.changes == 0


def test_a_stage_restored_from_the_cache_names_the_run_that_made_it(store):
    variants = [variant("r16", "r16", "e1"), variant()]
    _, summaries, runs = bring(store, variants, [session()])
    maker = runs["lora@count"].run_id
    assert summaries[0].stages["lora@count"] == f"cached -> {maker}"
    assert summaries[1].stages["lora@count"] == "ran"


def test_a_result_that_another_rank_made_is_not_claimed(store):
    bring(store, [variant()], [session()])
    _, (summary,), _ = bring(store, [variant("repro-2", rank=32)], [session()])
    assert summary.stages["lora@count"] == "cached"


def test_a_curve_whose_file_has_changed_since_is_not_logged(store):
    stale = variant(stages=parse_lock(lock(md5="0" * 32)))
    _, _, runs = bring(store, [stale], [session()])
    assert runs["lora@count"].metrics == {}
    assert FINGERPRINT in runs["lora@count"].tags


def test_a_process_that_left_no_end_is_running_or_was_killed(store):
    _, (summary,), runs = bring(store, [variant()], [session(status="")], alive={7})
    assert (runs["lora@count"].status, summary.stages["lora@count"]) == ("RUNNING", "running")
    _, (summary,), runs = bring(store, [variant()], [session(status="")])
    assert (runs["lora@count"].status, summary.stages["lora@count"]) == ("KILLED", "failed")
    assert summary.status == "FAILED"


def test_params_are_never_changed_but_superseded_by_a_new_run(store):
    bring(store, [variant("r16", "r16", "e1")], [])
    opened, _, _ = bring(store, [variant("r16", "r16", "e2", rank=32)], [])
    old, new = sorted(opened.runs(), key=lambda run: run.params["lora.rank"])
    assert (old.tags[SUPERSEDED], SUPERSEDED in new.tags) == ("e2", False)
    assert (old.params, new.params) == ({"lora.rank": "16"}, {"lora.rank": "32"})
