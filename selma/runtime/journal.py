"""What a stage notes of itself: JSON lines, which `selma track` brings to MLflow."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selma.core import team


def root() -> Path:
    """The folder that holds `.selma`: DVC's root, also in a temporary experiment."""
    return Path(os.environ.get("DVC_ROOT", "."))


def stage_name() -> str:
    """The running stage with its item, e.g. "images@count"; "" outside a stage."""
    return os.environ.get("DVC_STAGE", "")


def experiment() -> dict[str, str | None]:
    """Which DVC experiment is running, and on which commit; None for a plain `dvc repro`."""
    variables = {"experiment": "DVC_EXP_NAME", "baseline": "DVC_EXP_BASELINE_REV"}
    return {key: os.environ.get(name) for key, name in variables.items()}


def journal(event: Mapping[str, Any]) -> None:
    """Append an event to this process's journal, which `selma track` brings to MLflow.

    The helpers of a stage keep none: the stage is one, however many processes work on it.
    """
    if team.rank():
        return
    folder = root() / ".selma" / "runs" / (experiment()["experiment"] or "workspace")
    name = stage_name().replace("/", ".") or "manual"
    line = json.dumps({"time": round(time.time(), 3), "pid": os.getpid(), **event})
    with contextlib.suppress(OSError):  # a full disk or read-only checkout must not stop a stage
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}-{os.getpid()}.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
