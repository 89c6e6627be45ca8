"""Journals, DVC's lock and DVC's experiments become MLflow runs, once."""

import hashlib
import json
import subprocess
from dataclasses import replace

import pytest

from selma.tracking.command import describe, track
from selma.tracking.journals import Session, read_sessions
from selma.tracking.sync import (
    FINGERPRINT,
    MAX_ARTIFACT_BYTES,
    PARENT,
    STAGES,
    SUPERSEDED,
    sync,
)
from selma.tracking.variants import Out, Variant, current_variant, experiment_variants, parse_lock

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
    - {{path: plots/loss/experts/count.csv, hash: md5, md5: {md5}, size: 1}}
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
    assert one["lora@count"].outs == {"plots/loss/experts/count.csv": Out(MD5, 1)}


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_experiments_are_read_from_their_commits_and_their_outputs_from_the_cache(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "params.yaml").write_text("lora: {rank: 32, learning_rate: 5.0e-4}")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/metrics.json").write_text('{"dsg": 70.5, "note": "x", "good": true}')
    (tmp_path / "dvc.lock").write_text(lock(32))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    commit = git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/r32", commit)
    git(tmp_path, "update-ref", "refs/exps/exec/EXEC_HEAD", commit)
    blob = tmp_path / ".dvc/cache/files/md5" / MD5[:2] / MD5[2:]
    blob.parent.mkdir(parents=True)
    blob.write_bytes(CURVE)
    (tmp_path / "params.yaml").write_text("changed: since")
    (variant,) = experiment_variants(tmp_path)
    assert (variant.name, variant.run, variant.revision) == ("r32", "r32", commit)
    assert variant.baseline == commit
    assert variant.params == {"lora.rank": "32", "lora.learning_rate": "0.0005"}
    assert variant.metrics == {"dsg": 70.5}
    assert variant.stages == parse_lock(lock(32))
    assert variant.read("plots/loss/experts/count.csv") == CURVE
    assert variant.read("nowhere") is None


def test_a_workspace_without_git_lock_or_metrics_is_still_a_variant(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    variant = current_variant(tmp_path)
    assert (variant.name, variant.run) == ("repro-no-git", "workspace")
    assert (variant.params, variant.metrics, variant.stages) == ({}, {}, {})
    assert experiment_variants(tmp_path) == []


def test_a_running_experiment_is_read_from_the_folder_it_runs_in(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "young-crab")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "abc")
    (tmp_path / "copy").mkdir()
    (tmp_path / "params.yaml").write_text("rank: 1")
    (tmp_path / "copy/params.yaml").write_text("rank: 2")
    monkeypatch.chdir(tmp_path / "copy")
    variant = current_variant(tmp_path)
    assert (variant.name, variant.run, variant.revision) == ("young-crab", "young-crab", "")
    assert (variant.baseline, variant.params) == ("abc", {"rank": "2"})


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def store(uri, request):
    from selma.tracking.store import Store

    return lambda: Store(uri, request.node.name, None)


def variant(name="repro-1", run="workspace", revision="", rank=16, **changes):
    files = {"plots/loss/experts/count.csv": CURVE, "metrics/merge.json": b"{}"}
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
    assert parent.params == {"lora.rank": "16"}
    assert parent.metrics == {"dsg": 70.5, "loss/experts/count": 0.25}
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
    assert runs["repro-1"].metrics == {"dsg": 70.5}
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


def files_of(opened, run, path=None):
    return {file.path: file.file_size for file in opened._client.list_artifacts(run.run_id, path)}


def with_out(path, data, **changes):
    stages = parse_lock(lock().replace("plots/loss/experts/count.csv", path))
    out = Out(changes.pop("md5", hashlib.md5(data).hexdigest()), changes.pop("size", len(data)))
    stages["lora@count"].outs[path] = out
    return variant(stages=stages, read={path: data}.get, **changes)


def test_report_and_merged_adapter_are_artifacts_of_the_parent_also_when_restored(store):
    opened, _, runs = bring(store, [with_out("models/merged/m.safetensors", b"weights")], [])
    parent = runs["repro-1"]
    assert files_of(opened, parent, "models/merged") == {"models/merged/m.safetensors": 7}
    again, _, _ = bring(store, [with_out("models/merged/m.safetensors", b"weights")], [])
    assert again.changes == 0
    newer, _, _ = bring(store, [with_out("models/merged/m.safetensors", b"retrained")], [])
    assert files_of(newer, parent, "models/merged") == {"models/merged/m.safetensors": 9}


def test_a_large_artifact_is_a_pointer_with_its_hash(store):
    large = with_out("models/merged/m.safetensors", b"", md5="abc", size=MAX_ARTIFACT_BYTES + 1)
    opened, _, runs = bring(store, [large], [])
    local = opened._client.download_artifacts(
        runs["repro-1"].run_id, "models/merged/m.safetensors.json"
    )
    with open(local) as handle:
        pointer = json.load(handle)
    assert (pointer["md5"], pointer["size"]) == ("abc", MAX_ARTIFACT_BYTES + 1)


def test_an_artifact_that_is_not_the_locked_one_is_left_out(store):
    opened, _, runs = bring(store, [with_out("report/report.html", b"x", md5="other")], [])
    assert files_of(opened, runs["repro-1"]) == {}


def test_what_a_stage_has_just_written_is_not_bound_to_the_old_lock(store):
    going = with_out("report/report.html", b"new", md5="old", name="exp", run="exp")
    current = replace(session(run="exp"), locked=False)
    opened, (summary,), runs = bring(store, [going], [current])
    assert summary.stages["lora@count"] == "ran"
    assert FINGERPRINT not in runs["lora@count"].tags
    assert files_of(opened, runs["exp"], "report") == {"report/report.html": 3}
    done = with_out("report/report.html", b"new", name="exp", run="exp", revision="e1")
    opened, (summary,), _ = bring(store, [done], [session(run="exp")])
    assert summary.stages["lora@count"] == "ran"
    assert [run.name for run in opened.runs()].count("exp") == 1


def test_a_workspace_that_an_experiment_left_behind_has_no_run_of_its_own(store):
    experiment = variant("r16", "r16", "e1")
    _, summaries, runs = bring(store, [experiment, variant("repro-dirty")], [session(run="r16")])
    assert [summary.name for summary in summaries] == ["r16"]
    assert set(runs) == {"r16", "lora@count"}
    own = [session(run="r16"), session(pid=8)]
    _, summaries, runs = bring(store, [experiment, variant("repro-dirty")], own)
    assert [summary.name for summary in summaries] == ["r16", "repro-dirty"]


def test_experiments_of_one_name_on_two_baselines_are_two_runs(store):
    both = [variant("r16", "r16", f"e{n}", baseline=f"b{n}") for n in (1, 2)]
    bring(store, both, [])
    again, _, _ = bring(store, both, [])
    assert [run.name for run in again.runs()] == ["r16", "r16"]
    assert again.changes == 0


def test_an_experiment_that_is_run_again_is_the_one_at_hand(tmp_path, monkeypatch, uri):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-qm", "x", "--allow-empty")
    commit = git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/again", commit)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("DVC_EXP_NAME", "again")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", commit)
    lines, _ = track(tmp_path)
    assert lines == ["again  FINISHED  no stages"]
