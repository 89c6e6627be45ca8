"""What every stage runs in: one-line errors, signals, journal, work folder, progress bar."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from selma.errors import MissingDataError, SelmaError

logger = logging.getLogger(__name__)
_CODE = Path(__file__).parent
_DECIDING_PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "pyarrow",
    "pillow",
    "safetensors",
)


class _Interrupted(BaseException):
    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number


def root() -> Path:
    """Give the folder that holds `.selma`: DVC's root, also in a temporary experiment."""
    return Path(os.environ.get("DVC_ROOT", "."))


def run_stage(stage: str, main: Callable[[], None]) -> NoReturn:
    """Run a stage's main function and leave with its exit code.

    A problem that a person can mend is told in one line on stderr (with a traceback if
    ``SELMA_DEBUG=1``); see `selma.errors` for the exit codes. SIGINT, SIGTERM and SIGHUP end the
    stage with 128 + n; what was done is kept and the same command goes on from there.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr, force=True
    )
    for noisy in ("httpx", "httpx2", "diffusers", "transformers", "peft"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    name = os.environ.get("DVC_STAGE", stage)
    journal({"event": "start", "stage": name, "argv": sys.argv[1:]})
    status, code = "failed", 1
    try:
        main()
        status, code = "finished", 0
    except _Interrupted as interruption:
        status, code = "interrupted", 128 + interruption.signal_number
        print(f"selma: interrupted in {name}; run the same command to resume", file=sys.stderr)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 2
    except Exception as error:
        code = report_error(error)
    finally:
        journal({"event": "end", "stage": name, "status": status})
    sys.exit(code)


def report_error(error: Exception) -> int:
    """Tell an error on stderr and give the exit code for it."""
    known = isinstance(error, SelmaError)
    if not known or os.environ.get("SELMA_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, SelmaError):
        print(f"selma: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(f"selma: internal error: {type(error).__name__}: {error}", file=sys.stderr)
    return 1


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)


def journal(event: Mapping[str, Any]) -> None:
    """Append an event to this process's journal, which `selma track` brings to MLflow."""
    run = os.environ.get("DVC_EXP_NAME", "workspace")
    stage = os.environ.get("DVC_STAGE", "manual").replace("/", ".")
    folder = root() / ".selma" / "runs" / run
    line = json.dumps({"time": round(time.time(), 3), "pid": os.getpid(), **event})
    with contextlib.suppress(OSError):  # a read-only checkout must not stop a stage
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{stage}-{os.getpid()}.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")


def fingerprint(stage: str, inputs: Sequence[Path], settings: Mapping[str, object]) -> str:
    """Hash what decides a stage's bytes: inputs, settings, our code and the libraries' versions."""
    digest = hashlib.sha256(json.dumps([stage, settings], sort_keys=True, default=str).encode())
    digest.update(" ".join(version(package) for package in _DECIDING_PACKAGES).encode())
    files = [file for path in inputs for file in _files(path)] + sorted(_CODE.rglob("*.py"))
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise MissingDataError(f"{path}: no such file; run `dvc pull` or `dvc repro`")
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


@contextlib.contextmanager
def workspace(stage: str, inputs: Sequence[Path], settings: Mapping[str, object]) -> Iterator[Path]:
    """Give a folder for a stage's progress that outlives the process until the stage succeeds.

    The folder is found again by everything that decides the result, so a restart takes up only
    what the same run left. One process at a time holds it. ``SELMA_FRESH=1`` empties it first.

    Args:
        stage: the stage's name with its item, e.g. "lora-count".
        inputs: files and folders the stage reads.
        settings: params and seeds.

    Raises:
        MissingDataError: an input is not there.
    """
    mark = fingerprint(stage, inputs, settings)
    journal({"event": "params", "fingerprint": mark, "values": dict(settings)})
    home = root() / ".selma"
    (home / "locks").mkdir(parents=True, exist_ok=True)
    with (home / "locks" / mark).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        work = home / "work" / f"{stage}-{mark}"
        if os.environ.get("SELMA_FRESH") == "1":
            shutil.rmtree(work, ignore_errors=True)
        if work.exists():
            logger.info("resuming %s from %s", stage, work)
        work.mkdir(parents=True, exist_ok=True)
        yield work
        shutil.rmtree(work)


@contextlib.contextmanager
def progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while items are worked off; yields `advance(number)`."""
    from tqdm import tqdm

    with tqdm(total=total, desc=label, mininterval=1.0, dynamic_ncols=True) as bar:

        def advance(number: int) -> None:
            bar.update(number)

        yield advance


@contextlib.contextmanager
def training_progress(total: int, label: str) -> Iterator[Callable[[int, float], None]]:
    """Show a bar for a training; yields `on_step(steps_done, loss)`, right after a resume too."""
    done = 0
    with progress(total, label) as advance:

        def on_step(step: int, loss: float) -> None:
            nonlocal done
            advance(step - done)
            done = step

        yield on_step


def set_threads(threads: int) -> None:
    """Fix the number of CPU threads: sums, and so the last bits, depend on it."""
    import torch

    torch.set_num_threads(threads)


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write sorted, indented JSON, whole or not at all; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_bytes_atomic(path, (text + "\n").encode())


def write_curve(path: Path, losses: Sequence[float], *, every: int = 10) -> None:
    """Write a loss curve as CSV for `dvc plots`: the mean of every few steps, 6 digits."""
    lines = ["step,loss"]
    for start in range(0, len(losses), every):
        chunk = losses[start : start + every]
        lines.append(f"{start + len(chunk)},{sum(chunk) / len(chunk):.6f}")
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())
