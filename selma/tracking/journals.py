"""Reads what stages journalled: one session for each time a stage was started."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
    sessions = []
    for path in sorted(folder.rglob("*.jsonl")):
        started: list[list[dict[str, Any]]] = []
        for event in _events(path):
            if event["event"] == "start":
                started.append([])
            if started:
                started[-1].append(event)
        run = path.relative_to(folder).parts[0]
        sessions += [_session(run, f"{run}/{path.stem}", events) for events in started]
    return sorted(sessions, key=lambda session: (session.started, session.key))


def _session(run: str, journal: str, events: Sequence[Mapping[str, Any]]) -> Session:
    start = events[0]
    ends = [event for event in events if event["event"] == "end"]
    params = {
        key: str(value)
        for event in events
        if event["event"] == "params"
        for key, value in flatten(event["values"]).items()
    }
    points = (
        Point(event["name"], event["step"], float(event["value"]), event["time"])
        for event in events
        if event["event"] == "metric"
    )
    return Session(
        f"{journal}@{start['time']}",
        run,
        str(start["stage"]),
        start["pid"],
        start["time"],
        ended=ends[-1]["time"] if ends else None,
        status=ends[-1]["status"] if ends else "",
        params=params,
        points=tuple(points),
    )


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
