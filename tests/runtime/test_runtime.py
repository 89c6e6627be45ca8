import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selma.core.errors import MissingDataError
from selma.core.files import write_json
from selma.runtime.arguments import stage_arguments
from selma.runtime.journal import journal
from selma.runtime.progress import duration, in_words
from selma.runtime.workspace import workspace

ROOT = Path(__file__).parents[2]


def stage(tmp_path, body, **environment):
    program = (
        "from selma.core.errors import *\nfrom selma.runtime.session import run_stage\n"
        "from selma.runtime.progress import progress\n"
        f"from selma.runtime.workspace import workspace\n{body}\n"
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    env = {**own, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(tmp_path), **environment}
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


def test_a_full_disk_is_one_line_that_names_the_file_and_leaves_the_old_one(tmp_path):
    """The process may write files of 1000 bytes at most, and its error is made a full disk's."""
    target = tmp_path / "m.json"
    write_json(target, {"old": 1})
    body = (
        "import errno, resource\nfrom pathlib import Path\n"
        "from selma.core.files import write_json\n"
        "def main():\n    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "    try:\n        write_json(Path('m.json').absolute(), 'x' * 5000)\n"
        "    except OSError as error:\n        error.errno = errno.ENOSPC\n        raise\n"
        "import os\nos.chdir(os.environ['DVC_ROOT'])\nrun_stage('x', main)"
    )
    process = stage(tmp_path, body)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    advice = "the disk is full; make room and run the same command to go on"
    assert err == f"selma: error: {target}: {advice}\n"
    assert json.loads(target.read_text()) == {"old": 1}
    assert not list(tmp_path.glob("*.part"))


def test_a_table_that_cannot_be_written_is_one_line_too(tmp_path):
    body = (
        "import resource\nfrom pathlib import Path\n"
        "from selma.core.tables import write_table\n"
        "rows = [dict(item_id=f'{n}', prompt='p', source='s', questions=[]) for n in range(999)]\n"
        "def main():\n    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "    write_table(Path(os.environ['DVC_ROOT'], 't.parquet'), 'benchmark', rows)\n"
        "import os\nrun_stage('x', main)"
    )
    process = stage(tmp_path, body)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.startswith(f"selma: error: {tmp_path}/t.parquet: ") and "File too large" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("t.parquet*"))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("PermissionError(13, 'Permission denied', 'a.txt')", "a.txt: permission denied; check"),
        ("IsADirectoryError(21, 'Is a directory', 'data')", "data: Is a directory"),
        ("OSError('a reason of its own')", "a reason of its own"),
    ],
)
def test_what_the_system_refuses_is_one_line(tmp_path, error, line):
    process = stage(tmp_path, f"def main():\n    raise {error}\nrun_stage('x', main)")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.startswith(f"selma: error: {line}")
    assert err.count("\n") == 1


def test_a_bug_keeps_its_traceback(tmp_path):
    process = stage(tmp_path, "def main():\n    {}['x']\nrun_stage('x', main)")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" in err and "selma: internal error: KeyError: 'x'" in err


def test_log_lines_begin_with_the_stage_and_say_how_many_and_how_long(tmp_path):
    body = (
        "import logging\ndef main():\n    with progress(160, 'pictures') as advance:\n"
        "        advance(100)\n        advance(60)\n"
        "    logging.getLogger(__name__).warning('%d black', 3)\nrun_stage('images', main)"
    )
    _, err = stage(tmp_path, body, DVC_STAGE="images@count").communicate(timeout=30)
    assert err == "images@count: 160 pictures in 0.0 s\nimages@count: warning: 3 black\n"
    _, err = stage(tmp_path, body).communicate(timeout=30)
    assert err.startswith("images: 160 pictures in ")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (7500, "2 h 5 min")],
)
def test_durations_are_words(seconds, words):
    assert duration(seconds) == words


def test_counts_are_words():
    assert in_words({"pictures": 160, "black_images": 2}) == "160 pictures, 2 black images"


BUSY = (  # says "up" when the library call has begun
    "import hashlib, threading\ndef main():\n"
    "    threading.Timer(0.3, print, ['up'], {'flush': True}).start()\n"
    "    hashlib.pbkdf2_hmac('sha256', b'', b'', 200_000_000)\nrun_stage('x', main)"
)


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_ends_a_stage_that_is_busy_outside_python(tmp_path, signals):
    process = stage(tmp_path, BUSY)
    process.stdout.readline()
    started = time.monotonic()
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "interrupted in x; run the same command to resume" in err
    assert (time.monotonic() - started < 2.5) == (signals == 2)
    (journal_file,) = (tmp_path / ".selma/runs/workspace").iterdir()
    assert json.loads(journal_file.read_text().splitlines()[-1])["status"] == "interrupted"


def test_a_journal_says_which_experiment_it_belongs_to(tmp_path):
    """DVC 3.67 sets these names for every command of `dvc exp run`."""
    names = {"DVC_EXP_NAME": "savvy-buoy", "DVC_EXP_BASELINE_REV": "93ae", "DVC_STAGE": "x@a"}
    stage(tmp_path, "run_stage('x', lambda: None)", **names).communicate(timeout=30)
    (path,) = (tmp_path / ".selma/runs/savvy-buoy").iterdir()
    start, end = (json.loads(line) for line in path.read_text().splitlines())
    assert (start["event"], start["stage"]) == ("start", "x@a")
    assert (start["experiment"], start["baseline"]) == ("savvy-buoy", "93ae")
    assert (end["event"], end["status"]) == ("end", "finished")


def test_outside_an_experiment_the_journal_says_so(tmp_path):
    stage(tmp_path, "run_stage('x', lambda: None)").communicate(timeout=30)
    (path,) = (tmp_path / ".selma/runs/workspace").iterdir()
    assert path.name.startswith("x-")
    assert json.loads(path.read_text().splitlines()[0])["experiment"] is None


def test_a_journal_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / ".selma").write_text("in the way")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    journal({"event": "start"})
    assert (tmp_path / ".selma").read_text() == "in the way"


def test_a_process_that_must_wait_says_so(tmp_path):
    body = (
        "import time\ndef main():\n    with workspace('s', [], {}):\n"
        "        print('in', flush=True)\n        time.sleep(1)\nrun_stage('x', main)"
    )
    first = stage(tmp_path, body)
    first.stdout.readline()
    second = stage(tmp_path, body)
    assert second.communicate(timeout=30)[1] == (
        "x: waiting for another process that works on s with the same inputs\n"
    )
    assert first.communicate(timeout=30)[1] == ""


def test_a_change_of_words_keeps_the_work_and_a_change_of_the_method_does_not(tmp_path):
    shutil.copytree(ROOT / "selma", tmp_path / "selma", ignore=shutil.ignore_patterns("*.pyc"))
    code = "from selma.runtime.workspace import fingerprint; print(fingerprint('s', [], {}))"

    def mark():
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, check=True).stdout

    def change(*packages):
        for package in packages:
            (tmp_path / "selma" / package / "new.py").write_text('"""New."""')

    first = mark()
    change("commands", "report", "tracking", "checking")
    assert mark() == first
    change("training")
    assert mark() != first
    second = mark()
    (tmp_path / "selma/questions/texts/choices.txt").write_text("Another request.\n")
    assert mark() != second


def test_starting_a_stage_loads_nothing_heavy():
    code = (
        "import sys, selma.runtime.session, selma.runtime.workspace, selma.core.files\n"
        "print(sorted({'torch', 'pyarrow', 'pydantic', 'tqdm', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_work_that_stopped_is_resumed_in_its_folder_and_counted(tmp_path):
    body = (
        "from selma.runtime.workspace import resumable_work\ndef main():\n"
        "    with resumable_work('s', [], {}, total=3, what='parts') as (work, advance):\n"
        "        again = (work / 'begun').exists()\n        (work / 'begun').touch()\n"
        "        advance(3 if again else 1)\n"
        "        if not again:\n            raise ConfigError('stop')\nrun_stage('s', main)"
    )
    first, second = (stage(tmp_path, body).communicate(timeout=30)[1] for _ in range(2))
    assert first == "selma: error: stop\n"
    resuming, done = second.splitlines()
    assert resuming.startswith(f"s: resuming from {tmp_path}/.selma/work/s-")
    assert done == "s: 3 parts in 0.0 s"
    assert list((tmp_path / ".selma/work").iterdir()) == []


def test_a_stage_takes_what_it_names_and_a_params_file():
    given = "--skill count --inputs a b --out x/y"
    args = stage_arguments(given.split(), "Draws.", skill=str, inputs=[Path], out=Path)
    assert (args.skill, args.inputs, args.out) == ("count", [Path("a"), Path("b")], Path("x/y"))
    assert args.params == Path("params.yaml")
    with pytest.raises(SystemExit):
        stage_arguments(["--skill", "count"], "Draws.", skill=str, out=Path)


def test_a_full_gpu_is_one_line_with_what_to_do(tmp_path):
    body = "import torch\ndef main():\n    raise torch.OutOfMemoryError('CUDA out of memory')"
    process = stage(tmp_path, f"{body}\nrun_stage('x', main)")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("selma: error: the GPU's memory is full; lower micro_batch_size")
    assert len(err.splitlines()) == 1
