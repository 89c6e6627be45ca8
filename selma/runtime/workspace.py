"""A stage's progress on disk, found again by everything that decides its result."""

import contextlib
import fcntl
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO

from selma.core import team
from selma.core.errors import MissingDataError
from selma.runtime.journal import journal, root
from selma.runtime.progress import Advance, progress

logger = logging.getLogger(__name__)
_CODE = Path(__file__).parent.parent
# Packages whose change cannot change a stage's bytes: words, forms and frames.
_NOT_DECIDING = ("checking", "commands", "report", "runtime", "studies", "tracking")
_LIBRARIES = ("torch", "diffusers", "transformers", "peft", "pyarrow", "pillow", "safetensors")


def fingerprint(
    stage: str, inputs: Sequence[Path], settings: Mapping[str, object], *, computed: bool = True
) -> str:
    """Hash what decides a stage's bytes: inputs and settings; if computed, code and libraries."""
    digest = hashlib.sha256(json.dumps([stage, settings], sort_keys=True, default=str).encode())
    code: list[Path] = []
    if computed:
        digest.update(" ".join(version(package) for package in _LIBRARIES).encode())
        code = sorted(file for file in _CODE.rglob("*") if file.suffix in (".py", ".txt"))
        code = [file for file in code if file.relative_to(_CODE).parts[0] not in _NOT_DECIDING]
    for path in [*itertools.chain.from_iterable(map(_files, inputs)), *code]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise MissingDataError(f"{path}: no such file; run `dvc pull` or `dvc repro`")
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


@contextlib.contextmanager
def workspace(
    stage: str, inputs: Sequence[Path], settings: Mapping[str, object],
    libraries: Sequence[str] | None = None, *, computed: bool = True,
) -> Iterator[Path]:  # fmt: skip
    """Keep a folder for a stage's progress that outlives the process until the stage succeeds.

    The folder is found again by everything that decides the result, files and folders that are read
    as well as params and seeds, so a restart takes up only what the same run left. One process at a
    time holds it, with its helpers (`selma.core.team`). ``SELMA_FRESH=1`` empties it first. `stage`
    is the stage's name with its item, e.g. "lora-count". If `libraries` are given, also none, the
    work can be shared: helpers part from this process here, after these have been loaded; the
    `settings` then say the `threads` of each. Work that is not `computed` is found again by stage
    and settings alone, also after a change of code. MissingDataError if an input is not there.
    """
    mark = fingerprint(stage, inputs, settings, computed=computed)
    journal({"event": "params", "fingerprint": mark, "values": dict(settings)})
    home = root() / ".selma"
    (home / "locks").mkdir(parents=True, exist_ok=True)
    with (home / "locks" / mark).open("w") as lock:
        _wait_for(lock, stage)
        work = home / "work" / f"{stage}-{mark}"
        if os.environ.get("SELMA_FRESH") == "1":
            shutil.rmtree(work, ignore_errors=True)
        if work.exists():
            logger.info("resuming from %s", work)
        work.mkdir(parents=True, exist_ok=True)
        if libraries is not None:
            torch_threads = settings["threads"]
            assert isinstance(torch_threads, int)
            team.fork(team.wanted(torch_threads), libraries, work)
        yield work
        shutil.rmtree(work)


def _wait_for(lock: IO[str], stage: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.info("waiting for another process that works on %s with the same inputs", stage)
        fcntl.flock(lock, fcntl.LOCK_EX)


@contextlib.contextmanager
def resumable_work(
    stage: str,
    inputs: Sequence[Path],
    settings: Mapping[str, object],
    *,
    total: int,
    what: str,
    libraries: Sequence[str] | None = None,
) -> Iterator[tuple[Path, Advance]]:
    """Open `workspace` and `progress` together; yields the folder and ``advance(number)``."""
    with (
        workspace(stage, inputs, settings, libraries) as work,
        progress(total, what) as advance,
    ):
        yield work, advance
