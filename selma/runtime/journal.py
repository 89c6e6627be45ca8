"""What a stage notes of itself: JSON lines, which `selma track` brings to MLflow."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def root() -> Path:
    """Give the folder that holds `.selma`: DVC's root, also in a temporary experiment."""
    return Path(os.environ.get("DVC_ROOT", "."))


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
