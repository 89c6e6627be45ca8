"""`selma track`: gathers journals and DVC's records and brings them to MLflow, one at a time."""

import fcntl
import logging
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from selma.runtime.journal import root as project_root
from selma.tracking.journals import read_sessions
from selma.tracking.store import Store
from selma.tracking.studies import group_studies
from selma.tracking.sync import Summary, sync
from selma.tracking.variants import current_variant, experiment_variants

logger = logging.getLogger(__name__)
EXPERIMENT = "selma"


def track(root: Path, *, finished_pid: int | None = None) -> tuple[list[str], int]:
    """Sync; ``MLFLOW_TRACKING_URI`` is respected, else the database is `.mlflow` of `root`.

    Returns one line per run, the one at hand last, and the number of changes that were made. A
    process that still runs but has done its stage's work is named by `finished_pid`.
    """
    import psutil

    home = (root / ".mlflow").resolve()
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        own = f"sqlite:///{home / 'mlflow.db'}", EXPERIMENT, (home / "artifacts").as_uri()
        store = Store(uri, EXPERIMENT, None) if uri else Store(*own)
        now = time.time()
        sessions = read_sessions(root / ".selma" / "runs")
        for index, session in enumerate(sessions):
            if session.pid == finished_pid and not session.status:
                sessions[index] = replace(session, ended=now, status="finished", locked=False)
        here = current_variant(root)
        others = [other for other in experiment_variants(root) if other.name != here.name]
        summaries = sync(store, [*others, here], sessions, psutil.pid_exists, now)
        group_studies(store, root / ".selma" / "studies")
    return [describe(summary) for summary in summaries], store.changes


def describe(summary: Summary) -> str:
    kinds = Counter(state.split(" ")[0] for state in summary.stages.values())
    counts = [f"{number} {kind}" for kind, number in sorted(kinds.items())]
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
