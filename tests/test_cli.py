"""The command line: one line for what is wrong, exit codes that say of what kind, a fast start."""

import os
import resource
import shutil
import subprocess
import sys

import pytest
from tiny_world import ROOT

import selma
from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_adapter, write_adapter
from selma.commands.cli import main
from selma.commands.preset import PRESETS


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The root of a project, with a folder below it."""
    shutil.copy(ROOT / "presets/pocket.yaml", tmp_path / "params.yaml")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "data/skills").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def errors(capsys):
    return capsys.readouterr().err.splitlines()


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from selma.commands import cli; "
        "cli.build_parser().format_help(); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "numpy", "pyarrow", "pydantic", "mlflow", "diffusers", "pandas", "ruamel"}
    assert heavy & set(loaded.stdout.split()) == set()


def test_preset_writes_a_params_file_and_does_not_overwrite_another(tmp_path, capsys):
    out = tmp_path / "params.yaml"
    assert main(["preset", "sd14", "--out", str(out)]) == 0
    assert out.read_bytes() == (PRESETS / "sd14.yaml").read_bytes()
    assert main(["preset", "sdxl", "--out", str(out)]) == 2
    assert "--force overwrites" in errors(capsys)[0]
    assert main(["preset", "sdxl", "--out", str(out), "--force"]) == 0
    assert out.read_bytes() == (PRESETS / "sdxl.yaml").read_bytes()


def test_an_unknown_preset_lists_those_that_exist(tmp_path, capsys):
    assert main(["preset", "sdlx", "--out", str(tmp_path / "p.yaml")]) == 2
    (line,) = errors(capsys)
    assert "did you mean 'sdxl'?" in line and "pocket, sd14, sd2, sdxl" in line


def adapter(path, value):
    import torch

    factors = LoraFactors(torch.full((1, 2), value), torch.ones(3, 1))
    write_adapter(path, {"unet.mid.to_q": factors}, {})
    return str(path)


def test_merging_two_files_with_weights_gives_their_weighted_mean(tmp_path, capsys):
    import torch

    one, other = adapter(tmp_path / "a.safetensors", 1.0), adapter(tmp_path / "b.safetensors", 5.0)
    out = tmp_path / "merged.safetensors"
    assert main(["merge", one, other, "-o", str(out), "--weights", "3", "1"]) == 0
    merged = read_adapter(out)["unet.mid.to_q"].delta()  # (3 · 1 + 1 · 5) / 4 = 2
    torch.testing.assert_close(merged, torch.full((3, 2), 2.0, dtype=torch.float64))
    assert "relative error" in capsys.readouterr().out
    assert main(["merge", one, other, "-o", str(out), "--weights", "1", "0", "--scale", "2"]) == 0
    merged = read_adapter(out)["unet.mid.to_q"].delta()
    torch.testing.assert_close(merged, torch.full((3, 2), 2.0, dtype=torch.float64))


def test_a_wrong_number_of_weights_and_a_missing_file_are_one_line_each(tmp_path, capsys):
    one = adapter(tmp_path / "a.safetensors", 1.0)
    assert main(["merge", one, "-o", "m.safetensors", "--weights", "1", "2"]) == 2
    assert main(["merge", one, one, "-o", "m.safetensors"]) == 2
    assert main(["merge", str(tmp_path / "no.safetensors"), "-o", "m.safetensors"]) == 3
    weights, twice, missing = errors(capsys)
    assert "expected different files, got" in twice
    assert "expected one for each of 1 different files, got 2" in weights
    assert "no.safetensors: no such file" in missing


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Two work folders, one old, and three things below .selma/work that no stage made."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    work = tmp_path / ".selma/work"
    for folder, day in (
        (work / f"lora-old-{'0' * 16}", 1.0),
        (work / f"lora-new-{'1' * 16}", 2e9),
        (work / "notes", 1.0),
        (elsewhere, 1.0),
    ):
        folder.mkdir(parents=True)
        (folder / "state").write_bytes(b"x" * 2_000_000)
        for path in (folder / "state", folder):
            os.utime(path, (day, day))
    (work / f"lora-link-{'2' * 16}").symlink_to(elsewhere)
    (work / f"file-{'3' * 16}").touch()
    os.utime(work / f"file-{'3' * 16}", (1.0, 1.0))
    return work


def test_clean_lists_what_it_would_remove_and_removes_nothing_else(work, capsys):
    before = sorted(work.iterdir())
    assert main(["clean"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(work.iterdir()) == before
    (would,) = [line for line in lines if line.startswith("stale, --yes removes it")]
    assert f"lora-old-{'0' * 16}" in would and "2.0 MB" in would
    assert sum(line.startswith("not selma's") for line in lines) == 3
    assert main(["clean", "--yes", "--days", "1e9"]) == 0
    assert sorted(work.iterdir()) == before
    capsys.readouterr()
    assert main(["clean", "--yes"]) == 0
    assert set(before) - set(work.iterdir()) == {work / f"lora-old-{'0' * 16}"}
    assert (work.parent.parent / "elsewhere/state").exists()
    assert "removed" in capsys.readouterr().out
    assert main(["clean", "--yes", "--days", "0"]) == 0
    assert (work / f"lora-new-{'1' * 16}").exists()  # written in the future


def test_clean_keeps_what_a_stage_holds(work, capsys):
    import fcntl

    (work.parent / "locks").mkdir()
    with (work.parent / "locks" / ("0" * 16)).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["clean", "--yes"]) == 0
    assert (work / f"lora-old-{'0' * 16}").exists()
    assert "in use" in capsys.readouterr().out


def test_clean_refuses_a_number_of_days_that_is_none(work, capsys):
    for days in ("-5", "nan"):
        assert main(["clean", "--yes", "--days", days]) == 2
        assert f"--days: expected at least 0, got {days}" in errors(capsys)[0]
    assert len(list(work.iterdir())) == 5


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"selma {selma.__version__}\n"


@pytest.mark.parametrize("command", ["check", "table", "track", "clean"])
def test_in_a_folder_below_the_project_one_line_says_where_to_run(
    project, monkeypatch, capsys, command
):
    monkeypatch.chdir(project / "data/skills")
    assert main([command]) == 2
    assert errors(capsys) == [
        f"selma: error: this folder is a part of a project; run it in {project}"
    ]
    monkeypatch.setenv("DVC_ROOT", str(project))
    main([command])
    assert "is a part of" not in capsys.readouterr().err


def test_parts_work_in_any_folder(project, monkeypatch):
    one = adapter(project / "a.safetensors", 1.0)
    monkeypatch.chdir(project / "data")
    assert main(["merge", one, "-o", "m.safetensors"]) == 0


def test_the_command_line_starts_in_well_under_a_second():
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "selma.commands.cli", "--help"]
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.3


def test_a_traceback_is_shown_only_on_demand(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SELMA_DEBUG", "1")
    assert main(["merge", str(tmp_path / "no.safetensors"), "-o", "m.safetensors"]) == 3
    assert "Traceback" in capsys.readouterr().err
