"""Reads what stages journalled: one session for each time a stage was started."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)
WORKSPACE = "workspace"  # the folder of journals that belong to no experiment


@dataclass(frozen=True)
class Point:
    """One value of a metric; `time` in seconds since 1970."""

    name: str
    step: int
    value: float
    time: float


@dataclass(frozen=True)
class Session:
    """One process's work on one stage.

    Attributes:
        key: the same on every reading, different for every session.
        run: the DVC experiment, or `WORKSPACE`.
        stage: with its item, e.g. "lora@count".
        pid: the process.
        started: seconds since 1970.
        ended: None if the journal stops before the stage's end.
        status: "finished", "failed", "interrupted", or "" without an end.
        locked: DVC may have written its result into dvc.lock: the process is over.
        params: flattened, as text.
        points: in the order they were journalled.
    """

    key: str
    run: str
    stage: str
    pid: int
    started: float
    ended: float | None = None
    status: str = ""
    locked: bool = True
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()


def read_sessions(folder: Path) -> list[Session]:
    """Read all journals under a folder whose subfolders are runs, oldest session first.

    A line that a killed process left half-written is skipped with a warning.
    """
    sessions = [
        session
        for path in sorted(folder.rglob("*.jsonl"))
        for session in _sessions(path, path.relative_to(folder).parts[0])
    ]
    return sorted(sessions, key=lambda session: (session.started, session.key))


def _sessions(path: Path, run: str) -> Iterator[Session]:
    session = None
    for event in _events(path):
        if event["event"] == "start":
            if session:
                yield session
            key = f"{run}/{path.stem}@{event['time']}"
            session = Session(key, run, str(event["stage"]), event["pid"], event["time"])
        elif session:
            session = _with_event(session, event)
    if session:
        yield session


def _with_event(session: Session, event: Mapping[str, Any]) -> Session:
    if event["event"] == "params":
        values = {key: str(value) for key, value in flatten(event["values"]).items()}
        return replace(session, params={**session.params, **values})
    if event["event"] == "metric":
        point = Point(event["name"], event["step"], float(event["value"]), event["time"])
        return replace(session, points=(*session.points, point))
    if event["event"] == "end":
        return replace(session, ended=event["time"], status=event["status"])
    return session


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
        try:
            event = json.loads(line)
            if {"event", "time", "pid"} <= set(event):
                yield event
        except (ValueError, TypeError):
            logger.warning("%s:%d: not a whole event, skipped", path, number)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested mappings into one with dotted keys; lists and scalars are leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, Mapping)
        flat |= flatten(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def numbers(tree: Mapping[str, Any]) -> dict[str, float]:
    """Keep the numeric leaves of a metrics file, by dotted key."""
    return {
        key: float(value)
        for key, value in flatten(tree).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
