"""A stage that is killed and run again ends in the same bytes as one that was left alone."""

import importlib
import logging
import os
import shutil
import signal
import subprocess
import sys

import pytest
from tiny_world import (
    DISTILLATION,
    ROOT,
    SEARCH,
    copy_models,
    correct_section,
    with_objective,
    write_benchmarks,
    write_dev_split,
    write_expert,
    write_images,
    write_pairs,
    write_params,
    write_prompts,
    write_rater,
    write_source,
)

DYING = """
import glob, os, runpy, signal, sys, threading, time

def watch(pattern):
    while not glob.glob(pattern):
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=watch, args=[sys.argv[1]], daemon=True).start()
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""  # the killer lives in the process, so that a busy machine does not make it come too late
TABLES = "--images data/images --pairs data/pairs --objective data/rows/objective.json"
LONG = {
    "images": {"per_prompt": 2, "inference_steps": 3, "batch_size": 2},
    "samples": {"per_prompt": 4, "inference_steps": 3, "batch_size": 1},
    "models": {"merged": {"weights": "models/experts/count.safetensors"}},
    "lora": {"train_steps": 40, "checkpoint_every_steps": 1},
    "fits": {"cat": {"kind": "cat", "skills": ["count"], "lora": {}}},
    "distillations": {"mine": DISTILLATION},
    "searches": {"mine": {**SEARCH, "evaluations": 5}},
    "correct": correct_section(),
}


@pytest.fixture
def killed_world(tmp_path, tiny_models, monkeypatch):
    """A folder with the inputs of all these stages."""
    for objective in ("dpo", "ddpo", "denoise"):  # the last stays params.yaml
        write_params(tmp_path, with_objective(objective, **LONG))
        shutil.copy(tmp_path / "params.yaml", tmp_path / f"{objective}.yaml")
    write_benchmarks(tmp_path)
    write_dev_split(tmp_path)
    write_prompts(tmp_path, "count", 40)
    write_source(tmp_path)
    write_images(tmp_path, "count", 8)
    write_pairs(tmp_path, "count", 8)
    write_expert(tmp_path, "count")
    copy_models(tiny_models, tmp_path)
    write_rater(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kill_when(folder, module, arguments, pattern):
    """Run a stage that gets SIGKILL as soon as a file of its work folder is there."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", DYING, f"{folder}/.selma/work/*/{pattern}", module, *arguments],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("stage", "arguments", "pattern", "outs"),
    [
        (
            "images",
            "--skill count --prompts data/prompts/count.parquet --source data/sources/mine "
            "--out OUT/i --metrics OUT/m",
            "batch-000003.parquet",
            ["i", "m"],
        ),
        (
            "correct",
            "--skill count --images data/images/count.parquet --out OUT/i --corrections OUT/c "
            "--transcript OUT/t --metrics OUT/m",
            "shard-000001.json",
            ["i", "c", "t", "m"],
        ),
        (
            "lora",
            f"--section skills --name count {TABLES} --out OUT/l --curve OUT/c",
            "state.safetensors",
            ["l", "c"],
        ),
        (
            "pairs",
            "--params dpo.yaml --skill count --images data/images/count.parquet "
            "--objective data/rows/objective.json --out OUT/p --transcript OUT/t --metrics OUT/m",
            "batch-000003.parquet",
            ["p", "t", "m"],
        ),
        (
            "lora",
            f"--params dpo.yaml --section skills --name count {TABLES} --out OUT/l --curve OUT/c",
            "state.safetensors",
            ["l", "c"],
        ),
        (
            "lora",
            f"--params ddpo.yaml --section skills --name count {TABLES} --out OUT/l --curve OUT/c",
            "state.safetensors",
            ["l", "c"],
        ),
        (
            "samples",
            "--model merged --benchmark data/benchmarks/pocket-dsg.parquet --out OUT/s",
            "batch-000003.parquet",
            ["s"],
        ),
        (
            "fit",
            "--fit cat --experts models/experts --prompts data/prompts --images data/images "
            "--out OUT/f.safetensors --certificate OUT/f.json --metrics OUT/m --curve OUT/c",
            "state.safetensors",
            ["f.safetensors", "f.json", "m", "c"],
        ),
        (
            "distil",
            "--name mine --student models/experts/count.safetensors --experts models/experts "
            "--prompts data/prompts --out OUT/d.safetensors --curve OUT/c",
            "state.safetensors",
            ["d.safetensors", "c"],
        ),
        (
            "search",
            "--search mine --experts models/experts --dev data/dev/pocket-dsg.parquet "
            "--out OUT/s.safetensors --certificate OUT/c --metrics OUT/m",
            "trials.jsonl",
            ["s.safetensors", "c", "m"],
        ),
    ],
    ids=[
        *("images", "correct", "lora", "pairs", "dpo", "ddpo", "samples", "fit", "distil"),
        "search",
    ],
)
def test_a_killed_stage_resumes_and_ends_in_the_same_bytes(
    killed_world, monkeypatch, caplog, stage, arguments, pattern, outs
):
    folder, module = killed_world, f"stages.{stage}"
    kill_when(folder, module, arguments.replace("OUT", "resumed").split(), pattern)
    assert not (folder / "resumed" / outs[-1]).exists()
    main = importlib.import_module(module).main
    for root, out in ((folder, "resumed"), (folder / "elsewhere", "whole")):
        monkeypatch.setenv("DVC_ROOT", str(root))
        with caplog.at_level(logging.INFO):
            main(arguments.replace("OUT", out).split())
        assert ("resuming" in caplog.text) == (out == "resumed")
        caplog.clear()
    for out in outs:
        assert (folder / "resumed" / out).read_bytes() == (folder / "whole" / out).read_bytes()
    assert not any((folder / ".selma/work").iterdir())
