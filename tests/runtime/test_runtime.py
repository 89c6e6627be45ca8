import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from selma.core.errors import MissingDataError
from selma.core.files import write_json
from selma.runtime.workspace import workspace

ROOT = Path(__file__).parents[2]


def stage(tmp_path, body, **environment):
    program = (
        "from selma.core.errors import *\nfrom selma.runtime.session import run_stage\n"
        f"from selma.runtime.workspace import workspace\n{body}\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(tmp_path), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_known_problem_is_one_line_with_its_exit_code(tmp_path):
    process = stage(
        tmp_path,
        "def main():\n    raise MissingDataError('a.parquet: no such file')\nrun_stage('x', main)",
    )
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert err == "selma: error: a.parquet: no such file\n"


def test_debug_adds_the_traceback(tmp_path):
    process = stage(
        tmp_path,
        "def main():\n    raise ConfigError('bad')\nrun_stage('x', main)",
        SELMA_DEBUG="1",
    )
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "Traceback" in err


def test_an_interrupted_stage_says_how_to_go_on(tmp_path):
    process = stage(
        tmp_path,
        "import time\ndef main():\n    print('up', flush=True)\n    time.sleep(30)\n"
        "run_stage('x', main)",
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "run the same command to resume" in err


def test_a_workspace_outlives_a_failure_and_goes_with_success(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    source = tmp_path / "in.txt"
    source.write_text("input")
    with pytest.raises(ZeroDivisionError), workspace("s", [source], {"a": 1}) as work:
        (work / "half").write_text("done")
        raise ZeroDivisionError
    with workspace("s", [source], {"a": 1}) as again:
        assert (again / "half").read_text() == "done"
    assert not again.exists()


@pytest.mark.parametrize("change", ["input", "settings"])
def test_another_input_or_setting_gets_another_workspace(tmp_path, monkeypatch, change):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    source = tmp_path / "in.txt"
    source.write_text("input")
    with workspace("s", [source], {"a": 1}) as first:
        pass
    if change == "input":
        source.write_text("other")
    with workspace("s", [source], {"a": 1 if change == "input" else 2}) as second:
        pass
    assert first != second


def test_two_processes_do_not_work_in_one_workspace_at_once(tmp_path):
    body = (
        "import time\ndef main():\n    with workspace('s', [], {}) as work:\n"
        "        print(time.time(), flush=True)\n        time.sleep(0.6)\n"
        "        print(time.time(), flush=True)\nrun_stage('x', main)"
    )
    processes = [stage(tmp_path, body) for _ in range(2)]
    spans = sorted([float(t) for t in p.communicate(timeout=30)[0].split()] for p in processes)
    assert spans[0][1] <= spans[1][0]


def test_a_missing_input_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(MissingDataError, match="dvc pull"), workspace("s", [tmp_path / "no"], {}):
        pass


def test_json_refuses_nan_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.json"
    write_json(path, {"b": 1, "a": 2})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
