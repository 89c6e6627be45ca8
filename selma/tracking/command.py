"""`selma track`: gathers journals and DVC's records and brings them to MLflow, one at a time."""

import fcntl
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from selma.runtime.journal import root as project_root
from selma.tracking.journals import Session, read_sessions
from selma.tracking.store import Store
from selma.tracking.sync import Summary, is_alive, sync
from selma.tracking.variants import experiment_variants, workspace_variant

logger = logging.getLogger(__name__)
EXPERIMENT = "selma"


def track(root: Path, *, finished_pid: int | None = None) -> tuple[list[str], int]:
    """Sync; ``MLFLOW_TRACKING_URI`` is respected, else the database is in `.mlflow`.

    Args:
        root: the repository.
        finished_pid: a process that still runs but has done its stage's work.

    Returns:
        One line per run, and the number of changes that were made.
    """
    home = (root / ".mlflow").resolve()
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        own = f"sqlite:///{home / 'mlflow.db'}", EXPERIMENT, (home / "artifacts").as_uri()
        store = Store(uri, EXPERIMENT, None) if uri else Store(*own)
        sessions = _with_end(read_sessions(root / ".selma" / "runs"), finished_pid)
        variants = [*experiment_variants(root), workspace_variant(root)]
        summaries = sync(store, variants, sessions, is_alive, time.time())
    return [describe(summary) for summary in summaries], store.changes


def _with_end(sessions: Sequence[Session], pid: int | None) -> list[Session]:
    return [
        replace(session, ended=time.time(), status="finished")
        if session.pid == pid and not session.status
        else session
        for session in sessions
    ]


def describe(summary: Summary) -> str:
    """Write a run in one line."""
    kinds = [state.split(" ")[0] for state in summary.stages.values()]
    counts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds))]
    metrics = [f"{name}={value:g}" for name, value in sorted(summary.metrics.items())]
    stages = ", ".join(counts) or "no stages"
    return f"{summary.name}  {summary.status}  {stages}  {' '.join(metrics)}".rstrip()


def track_quietly() -> None:
    """Sync at the end of a run; whatever goes wrong is one warning, for the run itself is done.

    ``SELMA_TRACK=0`` switches it off.
    """
    if os.environ.get("SELMA_TRACK") == "0":
        return
    try:
        lines, _ = track(project_root(), finished_pid=os.getpid())
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        logger.warning("MLflow was not updated (%s); try `selma track`", reason[:200])
    else:
        logger.info("MLflow: %s", lines[-1])
