import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from selma.core import processor
from selma.core.processor import PINNED, missing_for_pin, pin_unless_off

ROOT = Path(__file__).parent.parent.parent
BENCH = ROOT / "bench/same_bytes.py"

needs_avx2 = pytest.mark.skipif(bool(missing_for_pin()), reason="this processor has no AVX2")


def fresh(code):
    """Run code in a process that nobody has pinned."""
    clean = {name: value for name, value in os.environ.items() if name not in PINNED}
    return subprocess.run(
        [sys.executable, "-c", code], env=clean, cwd=ROOT, capture_output=True, text=True
    )


PIN = "from selma.core.processor import pin_processor; pin_processor(); "
ENABLED = """
import json
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(json.dumps([name for name in __cpu_dispatch__ if __cpu_features__[name]]))
"""


@needs_avx2
def test_a_pinned_numpy_uses_nothing_newer_than_avx2():
    done = fresh(f"import warnings; warnings.simplefilter('error'); {PIN}{ENABLED}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["X86_V3"]


@needs_avx2
def test_a_pinned_torch_uses_avx2():
    done = fresh(f"{PIN}import torch; print(torch.backends.cpu.get_cpu_capability())")
    assert done.stdout.strip() == "AVX2"


@needs_avx2
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_library_that_is_loaded_already_is_an_error_that_names_it(library):
    done = fresh(f"import {library}; {PIN}")
    assert done.returncode == 1
    assert "ConfigError: the instruction set cannot be pinned: numpy" in done.stderr
    assert ("torch is already loaded" in done.stderr) == (library == "torch")


@needs_avx2
def test_pinning_twice_is_fine_also_after_the_libraries_are_loaded():
    assert fresh(f"{PIN}import numpy; {PIN}").returncode == 0


@needs_avx2
@pytest.mark.parametrize(
    ("line", "pinned"),
    [("same_bytes: true", True), ("same_bytes: false  # speed", False), ("seed: 0", True),
     ("images:\n  same_bytes: false", True)],
)  # fmt: skip
def test_params_switch_the_pin_off(tmp_path, line, pinned):
    path = tmp_path / "params.yaml"
    path.write_text(f"threads: 2\n{line}\n")
    done = fresh(
        "import pathlib\nfrom selma.core.processor import *\n"
        f"pin_unless_off(pathlib.Path({str(path)!r})); print(is_pinned())"
    )
    assert done.stdout.strip() == str(pinned)


def test_a_missing_params_file_is_left_to_whoever_reads_it(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(processor, "pin_processor", lambda: called.append(1))
    pin_unless_off(tmp_path / "params.yaml")
    assert called == [1]


@pytest.mark.parametrize(
    ("machine", "flags", "missing"),
    [("x86_64", "sse2 avx fma avx2", ""), ("AMD64", "sse2 avx", "AVX2 and FMA"),
     ("aarch64", "asimd", "x86-64 instructions")],
)  # fmt: skip
def test_what_a_processor_lacks_is_named(tmp_path, monkeypatch, machine, flags, missing):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: avx2 fma\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    assert missing_for_pin() == missing


def test_a_processor_that_cannot_be_pinned_is_left_alone_with_a_warning(monkeypatch, caplog):
    monkeypatch.setattr(processor, "is_pinned", lambda: False)
    monkeypatch.setattr(processor, "missing_for_pin", lambda: "AVX2")
    monkeypatch.setattr(processor, "PINNED", {"SELMA_TEST_PIN": "1"})
    processor.pin_processor()
    assert "SELMA_TEST_PIN" not in os.environ
    assert "this processor has no AVX2" in caplog.text


def test_a_short_run_gives_the_same_bytes_on_an_emulated_haswell():
    done = subprocess.run(
        [sys.executable, BENCH, "--cpus", "Haswell"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.stdout.startswith("skipped: "):
        pytest.skip(done.stdout.removeprefix("skipped: ").strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pixels" in done.stdout
