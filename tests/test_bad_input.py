"""What a person sees who gives a stage bad input: one line that says what to mend."""

import os
import subprocess
import sys

import pytest
from tiny_world import (
    ROOT,
    copy_models,
    tiny_params,
    write_expert,
    write_images,
    write_params,
    write_prompts,
    write_source,
)

OUT = "--out out/file --params params.yaml"
TABLES = "--images data/images --pairs data/pairs --objective data/rows/objective.json"
LORA = f"lora --section skills --name count {TABLES} --curve out/curve.csv {OUT}"
IMAGES = (
    "images --skill count --prompts data/prompts/count.parquet --source data/sources/mine "
    f"--metrics out/x.json {OUT}"
)
PROMPTS = (
    "prompts --skill count --instructions data/skills/count.yaml --benchmarks data/benchmarks "
    f"--transcript out/t.parquet --metrics out/x.json --coverage out/y.json "
    f"--plot out/x.csv {OUT}"
)
MERGE = (
    "merge --merge merged --experts models/experts --metrics out/x.json --certificate out/c.json "
    "--out out/file.safetensors --params params.yaml"
)


@pytest.fixture
def folder(tmp_path):
    write_params(tmp_path, tiny_params())
    return tmp_path


JOURNAL = ((".selma", "runs"), (".selma", "locks"))


def files(folder):
    """Give all files but the journal and locks, which every run leaves."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(path) for path in paths if path.parts[:2] not in JOURNAL}


def refused(folder, command):
    """Run a stage that must fail in the usual way; give its exit code and its one line."""
    before = files(folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    module, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{module}", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("selma: error:")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert files(folder) == before
    return done.returncode, lines[0]


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def changed(section, **values):
    """Give the tiny params with some values of a section changed; None takes a key out."""
    params = tiny_params()
    section = params[section]
    section |= values
    for key in [key for key, value in values.items() if value is None]:
        del section[key]
    return params


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"rnak": 8}, ["lora.rnak", "not a known key", "8"]),
        ({"rank": None}, ["lora.rank", "missing"]),
        ({"rank": [16]}, ["lora.rank", "integer", "[16]"]),
        ({"rank": 0}, ["lora.rank", "greater than or equal to 1", "got 0"]),
        ({"rank": "eight"}, ["lora.rank", "integer", "'eight'"]),
    ],
    ids=["unknown key", "missing key", "wrong type", "rank 0", "rank eight"],
)
def test_a_wrong_parameter_is_told_with_file_key_value_and_what_is_allowed(folder, values, told):
    write_images(folder, "count", 2)
    write_params(folder, changed("lora", **values))
    code, line = refused(folder, LORA)
    assert code == 2
    assert all(part in line for part in ["params.yaml", *told]), line


def test_a_missing_skill_file_is_named(folder):
    code, line = refused(folder, PROMPTS)
    assert code == 3
    assert "data/skills/count.yaml" in line


def test_a_table_that_is_cut_short_is_named_with_what_to_do(folder):
    write_images(folder, "count", 4)
    cut(folder / "data/images/count.parquet")
    code, line = refused(folder, LORA)
    assert code == 2
    assert "data/images/count.parquet" in line
    assert "cut short" in line
    assert "dvc pull" in line


def test_a_base_model_that_is_cut_in_half_is_named(folder, tiny_models):
    write_prompts(folder, "count", 2)
    write_source(folder)
    copy_models(tiny_models, folder)
    cut(folder / "models/pocket/base/unet/diffusion_pytorch_model.safetensors")
    code, line = refused(folder, IMAGES)
    assert code == 2
    assert "models/pocket/base/unet" in line
    assert "dvc pull" in line


def test_an_expert_that_is_cut_in_half_is_named(folder):
    for skill in tiny_params()["skills"]:
        write_expert(folder, skill)
    cut(folder / "models/experts/count.safetensors")
    code, line = refused(folder, MERGE)
    assert code == 2
    assert "models/experts/count.safetensors: not a whole safetensors file" in line
