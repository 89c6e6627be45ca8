"""A stage's progress on disk, found again by everything that decides its result."""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from selma.core.errors import MissingDataError
from selma.runtime.journal import journal, root

logger = logging.getLogger(__name__)
_CODE = Path(__file__).parent.parent
_DECIDING_PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "pyarrow",
    "pillow",
    "safetensors",
)


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
