"""Stages that several processes share give the same bytes as one process alone."""

import importlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest
from tiny_world import (
    DISTILLATION,
    ROOT,
    copy_models,
    correct_section,
    tiny_params,
    with_objective,
    write_benchmarks,
    write_expert,
    write_images,
    write_pairs,
    write_params,
    write_prompts,
    write_rater,
    write_source,
)

from selma.core import team
from selma.core.errors import ConfigError

CHANGES = {
    "correct": correct_section(),
    "images": {"inference_steps": 2, "batch_size": 2},
    "samples": {"per_prompt": 2, "inference_steps": 2, "batch_size": 3},
    "models": {"merged": {"weights": "models/experts/count.safetensors"}},
    "distillations": {"mine": {**DISTILLATION, "lora": {"train_steps": 2}}},
    "lora": {"train_steps": 6, "batch_size": 8, "micro_batch_size": 2, "checkpoint_every_steps": 2},
}
TABLES = "--images data/images --pairs data/pairs --objective data/rows/objective.json"
STAGES = {
    "images": "--skill count --prompts data/prompts/count.parquet --source data/sources/mine "
    "--out OUT/i --metrics OUT/m",
    "correct": "--skill count --images data/images/count.parquet --out OUT/i --corrections OUT/c "
    "--transcript OUT/t --metrics OUT/m",
    "lora": f"--section skills --name count {TABLES} --out OUT/l --curve OUT/c",
    "distil": "--name mine --student models/experts/count.safetensors --experts models/experts "
    "--prompts data/prompts --out OUT/d.safetensors --curve OUT/c",
    "lora-dpo": f"--params dpo.yaml --section skills --name count {TABLES} --out OUT/l "
    "--curve OUT/c",
    "lora-ddpo": f"--params ddpo.yaml --section skills --name count {TABLES} --out OUT/l "
    "--curve OUT/c",
    "pairs-dpo": "--params dpo.yaml --skill count --images data/images/count.parquet "
    "--objective data/rows/objective.json --out OUT/p --transcript OUT/t --metrics OUT/m",
    "samples": "--model merged --benchmark data/benchmarks/pocket-dsg.parquet --out OUT/s",
    "answers": "--answers dsg --model merged --benchmarks data/benchmarks --samples SAMPLES "
    "--out OUT/a",
    "preferences": "--preference pickscore --model merged --benchmarks data/benchmarks "
    "--samples SAMPLES --out OUT/p",
}


@pytest.fixture
def world(tmp_path, tiny_models, monkeypatch):
    params = tiny_params(**CHANGES)
    params["judges"]["pocket"]["batch_size"] = 3
    params["preferences"]["pickscore"]["batch_size"] = 3
    write_params(tmp_path, params)
    for objective in ("dpo", "ddpo"):
        (tmp_path / objective).mkdir()
        write_params(tmp_path / objective, with_objective(objective, **CHANGES))
        (tmp_path / objective / "params.yaml").rename(tmp_path / f"{objective}.yaml")
    write_rater(tmp_path)
    write_pairs(tmp_path, "count", 7)
    write_benchmarks(tmp_path)
    write_prompts(tmp_path, "count", 9)
    write_source(tmp_path)
    write_images(tmp_path, "count", 7)
    write_expert(tmp_path, "count")
    copy_models(tiny_models, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def script(stage):
    return stage.partition("-")[0]


def begin(world, stage, processes, out, *, fresh="0"):
    arguments = STAGES[stage].replace("OUT", out).replace("SAMPLES", "one/samples")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SELMA_PROCESSES": str(processes)}
    environment |= {"DVC_ROOT": str(world), "SELMA_FRESH": fresh}
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{script(stage)}", *arguments.split()],
        cwd=world, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def alone(stage, out):
    """Run a stage in this process."""
    arguments = STAGES[stage].replace("OUT", out).replace("SAMPLES", "one/samples")
    importlib.import_module(f"stages.{script(stage)}").main(shlex.split(arguments))


def finish(process):
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stage", STAGES)
def test_several_processes_give_the_same_bytes_as_one(world, stage):
    if "SAMPLES" in STAGES[stage]:
        alone("samples", "one/samples")
        (world / "one/samples/s").rename(world / "one/samples/pocket-dsg.parquet")
    alone(stage, "alone")
    processes = 3 if script(stage) == "lora" else 2  # 3 add up 4 gradients unevenly
    code, told = finish(begin(world, stage, processes, "shared"))
    assert code == 0, told
    assert files(world / "alone")
    assert files(world / "shared") == files(world / "alone")
    assert not list(world.glob("met-*"))
    assert told.count(" in ") == 1  # "7 pictures in 1 s": helpers say nothing
    assert not any((world / ".selma/work").iterdir())
    journals = list((world / ".selma/runs").rglob(f"{script(stage)}-*.jsonl"))
    assert len(journals) == 1  # nor do they note


@pytest.mark.parametrize("stage", ["images", "lora"])
def test_what_is_wrong_ends_all_processes_with_one_line_each(world, stage):
    from selma.core.tables import read_table, write_table

    path = world / "data/images/count.parquet"
    if stage == "images":
        path = world / "models/pocket/base/unet/config.json"
        path.unlink()
    else:
        rows = read_table(path, "images")
        rows[-1]["image"]["bytes"] = rows[-1]["image"]["bytes"][:80]
        write_table(path, "images", rows)
    code, said = finish(begin(world, stage, 2, "out"))
    assert code == 2
    lines = said.splitlines()
    assert all(line.startswith("selma: error: ") for line in lines if "stages" not in line), said
    assert "Traceback" not in said
    assert not (world / "out").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_leader_takes_its_helpers_along_and_one_process_can_go_on(world, caplog, how):
    alone("images", "whole")
    leader = begin(world, "images", 3, "out")
    while len(helpers := psutil.Process(leader.pid).children()) < 2:
        time.sleep(0.01)
    while not list(world.glob(".selma/work/*/batch-*.parquet")):
        assert leader.poll() is None, leader.communicate()
        time.sleep(0.01)
    leader.send_signal(how)
    finish(leader)
    psutil.wait_procs(helpers, timeout=10)
    assert not any(helper.is_running() for helper in helpers)
    with caplog.at_level(logging.INFO):
        alone("images", "out")
    assert "resuming" in caplog.text
    assert files(world / "out") == files(world / "whole")


def test_a_fresh_start_does_not_delete_a_helpers_work(world):
    code, said = finish(begin(world, "images", 2, "out", fresh="1"))
    assert code == 0, said


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("SELMA_PROCESSES", text)
    with pytest.raises(ConfigError, match="SELMA_PROCESSES: got .* expected a whole number"):
        team.wanted(1)


def test_without_the_variable_the_processors_cores_decide(monkeypatch):
    monkeypatch.delenv("SELMA_PROCESSES")
    monkeypatch.setattr("os.path.exists", lambda path: False)
    monkeypatch.setattr("glob.glob", lambda pattern: [])
    for cores, threads, expected in ((2, 1, 2), (2, 2, 1), (1, 4, 1), (64, 1, 4), (64, 32, 2)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: range(cores))
        assert team.wanted(threads) == expected
    monkeypatch.setattr("glob.glob", lambda pattern: ["/dev/nvidia3"])
    assert team.wanted(1) == 1


def test_alone_a_process_owns_everything():
    assert (team.rank(), team.size()) == (0, 1)
    assert all(map(team.owns, range(5)))
