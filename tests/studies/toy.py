"""A small repository of git and DVC whose stages write score tables that a person can redo."""

import copy
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STAGE = """
import os, sys, time
from pathlib import Path
from ruamel.yaml import YAML
from selma.core.tables import write_table

home, name, *models = sys.argv[1:]
params = YAML(typ="safe").load(Path("params.yaml"))
seed, rank = params["seed"], params["rank"]
with (Path(home) / "cores").open("a") as cores:
    cores.write(f"{len(os.sched_getaffinity(0))}\\n")
with (Path(home) / "ran").open("a") as ran:
    ran.write(f"{name} seed {seed} rank {rank}\\n")
if name == "train":
    Path("weights.txt").write_text(f"{seed} {rank}")
else:
    (Path(home) / f"begun-{rank}").touch()
    while (Path(home) / f"hold-{rank}").exists():
        time.sleep(0.01)
    if rank == 13:
        sys.exit("selma: error: unlucky rank")
    about = {"metric": "dsg", "measure": "dsg", "title": "DSG", "version": "1", "policy": "p"}
    about |= {"judge": "j", "unit": "percent", "factor": 100.0}
    for model in models:
        gain = {"base": 0.0, "merged": 0.1}[model] * rank
        rows = [
            {"item_id": f"i{k}", "sample": 0, "source": f"s{k % 2}", "weight": 1.0, "details": "{}",
             "score": 0.2 + gain + 0.01 * seed * (model == "merged") + 0.01 * k}
            for k in range(4)
        ]
        write_table(Path(f"data/scores/dsg/{model}.parquet"), "scores", rows, about)
"""
PIPELINE = """
stages:
  train:
    cmd: PYTHON stage.py HOME train
    deps: [stage.py]
    params: [seed, rank]
    outs: [weights.txt]
  scores:
    cmd: PYTHON stage.py HOME scores base merged
    deps: [stage.py, weights.txt, notes]
    params: [seed, rank]
    outs: [data/scores/dsg]
  other:
    cmd: exit 1
    deps: [weights.txt]
    outs: [other.txt]
"""
STUDY = """
name: toy
question: Does rank help?
seeds: [1, 2, 3]
settings: ['+extra={note: common}']
targets: [scores]
variants:
  low: [rank=1]
  high: [rank=2, '~gone']
measures: [dsg]
trained_against: {}
confidence: 0.95
resamples: 200
tables:
  ranks:
    title: By rank
    measures: {dsg: none}
    rows: {rank 1: low/merged, rank 2: high/merged}
    against: {base: base, low: low/merged}
    paper: {rank 1: {dsg: 30.5, base: 9.0}}
claims:
  - {claim: merged beats base, measure: dsg, first: low/merged, second: low/base,
     direction: greater, paper: 2.1}
  - {claim: base beats merged, measure: dsg, first: low/merged, second: low/base,
     direction: less, paper: null}
"""
RUN = """
import sys
from pathlib import Path
from selma.studies.experiments import plan
from selma.studies.running import Runner
from selma.studies.study_file import read_study

def say(one, words):
    print(one.label, words, flush=True)

study = read_study(Path("studies/toy.yaml"))
runner = Runner(Path("."), study.name, study.targets, say)
print(*runner.run(plan(study, Path(".")), int(sys.argv[1])), sep="\\n")
"""


def environment(home):
    own = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    own |= {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", "HOME": str(home)}
    return own | {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER")
                  for what in ("NAME", "EMAIL")}  # fmt: skip


class Toy:
    """The repository in `folder`; `ran()` lists the stages that ran, in their order."""

    def __init__(self, home: Path) -> None:
        """Make it, with one commit."""
        self.home, self.folder = home, home / "repository"
        (self.folder / "studies").mkdir(parents=True)
        (self.folder / "notes").mkdir()
        self.write("stage.py", STAGE)
        self.write(
            "dvc.yaml", PIPELINE.replace("PYTHON", sys.executable).replace("HOME", str(home))
        )
        self.write("params.yaml", "seed: 0 # of all\nrank: 1\ngone: 1\n")
        self.write(".gitignore", ".selma/\n/release/\n/notes/*.txt\n")
        self.write("notes/.gitignore", "")
        self.write("notes/by-hand.txt", "as it lies here")
        self.write("studies/toy.yaml", STUDY)
        self.git("init", "--quiet")
        self.dvc("init", "--quiet")
        self.dvc("remote", "add", "--quiet", "shared", str(home / "remote"))
        self.dvc("remote", "add", "--quiet", "--default", "released", "release")  # in the clone
        self.commit("first")

    def cloned(self, name: str = "clone") -> "Toy":
        """Clone it, as another person does: without cache, experiments and what is released."""
        other = copy.copy(self)
        other.folder = self.home / name
        self.git("clone", "--quiet", ".", str(other.folder))
        other.write("notes/by-hand.txt", "as it lies here")
        return other

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def run(self, *command: str) -> str:
        """Run a command that succeeds; returns what it says."""
        done = subprocess.run(command, cwd=self.folder, env=environment(self.home),
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", message)

    def start(self) -> subprocess.Popen:
        """Start to run the study."""
        command, env = [sys.executable, "-c", RUN, "1"], environment(self.home)
        return subprocess.Popen(
            command, cwd=self.folder, env=env, stdout=subprocess.PIPE, text=True
        )

    def study(self) -> str:
        """Run the study, two runs at once; returns what it says."""
        return self.run(sys.executable, "-c", RUN, "2")

    def ran(self) -> list[str]:
        path = self.home / "ran"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines
