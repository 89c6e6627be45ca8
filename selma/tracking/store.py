"""MLflow, behind the few operations the syncer needs; each counts what it changed."""

import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selma.tracking.journals import Point

MAX_PARAM_CHARACTERS = 6000  # MLflow's own limit
_METRICS_BATCH, _PARAMS_BATCH = 900, 100  # in one request


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
        """Open or make the experiment.

        Args:
            uri: MLflow's tracking URI.
            experiment: its name.
            artifacts: where a new experiment keeps its files; None for the server's choice.
        """
        self.changes = 0
        self._client = _client(uri)
        found = self._client.get_experiment_by_name(experiment)
        self._experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(experiment, artifact_location=artifacts)
        )

    def runs(self) -> list[Run]:
        """List all runs, oldest first."""
        runs: list[Run] = []
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([self._experiment], page_token=token or None)
            runs += map(_run, page)
            token = page.token or None
        return sorted(runs, key=lambda run: (run.started_ms, run.run_id))

    def create(self, name: str, started: float, tags: Mapping[str, str]) -> Run:
        """Start a run; `started` in seconds since 1970."""
        made = self._client.create_run(
            self._experiment, start_time=_ms(started), tags=dict(tags), run_name=name
        )
        self.changes += 1
        return _run(made)

    def tag(self, run: Run, key: str, value: str) -> None:
        """Set a tag if it is not so already."""
        if run.tags.get(key) != value:
            self._client.set_tag(run.run_id, key, value)
            run.tags[key] = value
            self.changes += 1

    def log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Add the params that the run lacks; MLflow's params cannot be changed later."""
        from mlflow.entities import Param

        new = {key: cut(value) for key, value in params.items() if key not in run.params}
        batch = [Param(safe_name(key), value) for key, value in new.items()]
        for start in range(0, len(batch), _PARAMS_BATCH):
            self._client.log_batch(run.run_id, params=batch[start : start + _PARAMS_BATCH])
        run.params.update(new)
        self.changes += bool(new)

    def log_metrics(self, run: Run, metrics: Mapping[str, float], time: float) -> None:
        """Log the metrics whose latest value is another."""
        new = [
            Point(name, 0, value, time)
            for name, value in metrics.items()
            if run.metrics.get(safe_name(name)) != value
        ]
        self.log_points(run, new)

    def log_points(self, run: Run, points: Iterable[Point]) -> None:
        """Log points of curves, all of them."""
        from mlflow.entities import Metric

        batch = [Metric(safe_name(p.name), p.value, _ms(p.time), p.step) for p in points]
        for start in range(0, len(batch), _METRICS_BATCH):
            part = batch[start : start + _METRICS_BATCH]
            self._client.log_batch(run.run_id, metrics=part)
        run.metrics.update({metric.key: metric.value for metric in batch})
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
    info, data = run.info, run.data
    kept = (dict(data.tags), dict(data.params), dict(data.metrics))
    return Run(info.run_id, info.run_name, info.status, info.start_time, *kept)


def cut(value: str) -> str:
    """Shorten a param's value to what MLflow takes."""
    return value[:MAX_PARAM_CHARACTERS]


def safe_name(name: str) -> str:
    """Replace what MLflow does not allow in the name of a metric or param."""
    return "".join(char if char.isalnum() or char in "_-./ " else "_" for char in name)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
