"""MLflow, behind the few operations the syncer needs; each counts what it changed."""

import logging
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selma.tracking.journals import Point

MAX_PARAM_CHARACTERS = 6000  # MLflow's own limit
_BATCH = {"metrics": 900, "params": 100}  # in one request


@dataclass
class Run:
    """A run as it is in MLflow, kept in step with what is written."""

    run_id: str
    name: str
    status: str
    started_ms: int
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class Store:
    """One MLflow experiment; `changes` counts the writes."""

    def __init__(self, uri: str, experiment: str, artifacts: str | None) -> None:
        """Open the experiment, or make it with its files in `artifacts` (None: MLflow's choice)."""
        self.changes = 0
        self._client = _client(uri)
        self._experiment = getattr(
            self._client.get_experiment_by_name(experiment), "experiment_id", None
        ) or self._client.create_experiment(experiment, artifact_location=artifacts)

    def runs(self) -> list[Run]:
        """List all runs, oldest first."""
        page = self._client.search_runs([self._experiment])
        runs = list(map(_run, page))
        while page.token:
            page = self._client.search_runs([self._experiment], page_token=page.token)
            runs += map(_run, page)
        return sorted(runs, key=lambda run: (run.started_ms, run.run_id))

    def create(self, name: str, started: float, tags: Mapping[str, str]) -> Run:
        """Start a run; `started` in seconds since 1970."""
        self.changes += 1
        begin, given = _ms(started), dict(tags)
        return _run(self._client.create_run(self._experiment, begin, given, run_name=name))

    def tag(self, run: Run, key: str, value: str) -> None:
        if run.tags.get(key) != value:
            self._client.set_tag(run.run_id, key, value)
            run.tags[key] = value
            self.changes += 1

    def log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Add the params that the run lacks; MLflow's params cannot be changed later."""
        from mlflow.entities import Param

        new = {key: cut(value) for key, value in params.items() if key not in run.params}
        self._log(run, "params", [Param(safe_name(key), value) for key, value in new.items()])
        run.params.update(new)

    def log_metrics(self, run: Run, metrics: Mapping[str, float], time: float) -> None:
        """Log the metrics whose latest value is another."""
        new = {n: v for n, v in metrics.items() if run.metrics.get(safe_name(n)) != v}
        self.log_points(run, [Point(name, 0, value, time) for name, value in new.items()])

    def log_points(self, run: Run, points: Iterable[Point]) -> None:
        from mlflow.entities import Metric

        batch = [Metric(safe_name(p.name), p.value, _ms(p.time), p.step) for p in points]
        self._log(run, "metrics", batch)
        run.metrics.update({metric.key: metric.value for metric in batch})

    def _log(self, run: Run, what: str, batch: Sequence[Any]) -> None:
        size = _BATCH[what]
        for start in range(0, len(batch), size):
            self._client.log_batch(run.run_id, **{what: batch[start : start + size]})
        self.changes += bool(batch)

    def log_file(self, run: Run, path: str, data: bytes) -> None:
        """Keep a file as an artifact of the run, under its path; the same path is overwritten."""
        name, folder = Path(path).name, Path(path).parent.as_posix()
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / name).write_bytes(data)
            self._client.log_artifact(run.run_id, str(Path(scratch) / name), folder)
        self.changes += 1

    def set_status(self, run: Run, status: str, ended: float | None) -> None:
        """Set RUNNING, FINISHED, FAILED or KILLED if it is not so already."""
        if run.status == status:
            return
        if status == "RUNNING":
            self._client.update_run(run.run_id, status=status)
        else:
            self._client.set_terminated(run.run_id, status, None if ended is None else _ms(ended))
        run.status = status
        self.changes += 1


def _client(uri: str) -> Any:
    """Open MLflow without its reports of use to its makers and without its chatter."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic", "sqlalchemy"):  # importing MLflow sets their levels
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def _run(run: Any) -> Run:
    info, kept = run.info, map(dict, (run.data.tags, run.data.params, run.data.metrics))
    return Run(info.run_id, info.run_name, info.status, info.start_time, *kept)


def cut(value: str) -> str:
    return value[:MAX_PARAM_CHARACTERS]


def safe_name(name: str) -> str:
    """Replace what MLflow does not allow in the name of a metric or param."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
