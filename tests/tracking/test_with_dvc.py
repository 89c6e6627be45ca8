"""A real DVC experiment in a small repository is one run of MLflow, with its stages below it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
STAGE = """
import sys
from pathlib import Path
from selma.runtime.session import run_stage

def main():
    if sys.argv[1] == "lora":
        from ruamel.yaml import YAML
        rank = YAML(typ="safe").load(Path("params.yaml"))["rank"]
        Path("plots/loss/experts").mkdir(parents=True, exist_ok=True)
        Path("plots/loss/experts/count.csv").write_text(f"step,loss,norm\\n10,{rank}.5,3\\n20,0.25,2\\n")
        Path("models/merged").mkdir(parents=True, exist_ok=True)
        Path("models/merged/merged.safetensors").write_text(f"rank {rank}")
        Path("metrics").mkdir(exist_ok=True)
        Path("metrics/metrics.json").write_text('{"dsg": %d}' % rank)
        return
    if sys.argv[1] == "report":
        Path("report").mkdir(exist_ok=True)
        Path("report/report.html").write_text(Path("metrics/metrics.json").read_text())
        from selma.tracking.command import track_quietly
        track_quietly()

run_stage(sys.argv[1], main)
"""
PIPELINE = """
stages:
  prompts:
    cmd: PYTHON stage.py prompts
    deps: [stage.py]
  lora:
    cmd: PYTHON stage.py lora
    params: [rank]
    outs: [models/merged/merged.safetensors]
    metrics: [metrics/metrics.json: {cache: false}]
    plots: [plots/loss/experts/count.csv: {cache: false}]
  report:
    cmd: PYTHON stage.py report
    deps: [metrics/metrics.json]
    outs: [report/report.html]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    env = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    env |= {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", "HOME": str(folder.parent)}
    env |= {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")}  # fmt: skip

    def run(*command, **more):
        command = [sys.executable, "-m", *command] if command[0] == "dvc" else command
        done = subprocess.run(command, cwd=folder, env=env | more, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    (folder / "stage.py").write_text(STAGE)
    (folder / "params.yaml").write_text("rank: 1\n")
    (folder / "dvc.yaml").write_text(PIPELINE.replace("PYTHON", sys.executable))
    (folder / ".gitignore").write_text(".selma/\n.mlflow/\n/report/\n/models/\n")
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    run("dvc", "repro", "-q", SELMA_TRACK="0")
    shutil.rmtree(folder / ".selma")  # as in a fresh clone: results, and no journals
    run("git", "add", ".")
    run("git", "commit", "-qm", "first")
    said = run("dvc", "exp", "run", "-n", "rank7", "-S", "rank=7")
    return folder, run, said


def runs_of(folder):
    from selma.tracking.store import Store

    store = Store(f"sqlite:///{folder / '.mlflow/mlflow.db'}", "selma", None)
    return store, store.runs()


def stages_of(run):
    return {name: state.split(" ")[0] for name, state in json.loads(run.tags["dvc.stages"]).items()}


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def check(folder):
    store, runs = runs_of(folder)
    parents = [run for run in runs if "dvc.stages" in run.tags]
    assert [run.name for run in parents] == ["rank7"]
    parent = parents[0]
    children = [run.name for run in runs if run.tags.get("mlflow.parentRunId") == parent.run_id]
    assert sorted(children) == ["lora", "report"]
    assert stages_of(parent) == {"prompts": "cached", "lora": "ran", "report": "ran"}
    assert parent.params == {"rank": "7"}
    assert parent.metrics == {
        "dsg": 7.0, "loss/experts/count": 0.25, "norm/experts/count": 2.0
    }  # fmt: skip
    curve = store._client.get_metric_history(parent.run_id, "loss/experts/count")
    assert [(point.step, point.value) for point in curve] == [(10, 7.5), (20, 0.25)]
    for path, text in (("report/report.html", '{"dsg": 7}'),
                       ("models/merged/merged.safetensors", "rank 7")):  # fmt: skip
        assert Path(store._client.download_artifacts(parent.run_id, path)).read_text() == text
    return parent


def test_an_experiment_is_one_run_and_is_called_by_its_name_while_it_is_going_on(project):
    folder, _, said = project
    assert "MLflow: rank7  FINISHED  1 cached, 2 ran  dsg=7" in said
    assert "dirty" not in said
    check(folder)


def test_bringing_it_again_adds_the_revision_and_no_run(project):
    folder, run, _ = project
    track = "from selma.commands.cli import main; main(['track']); main(['track'])"
    said = run(sys.executable, "-c", track)
    assert "rank7  FINISHED  1 cached, 2 ran  dsg=7" in said and "dirty" not in said
    assert said.endswith("0 changes\n")
    revision = run("git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/rank7")
    assert check(folder).tags["dvc.exp_rev"] == revision.strip()
