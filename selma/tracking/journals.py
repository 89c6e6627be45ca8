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
    """One process's work on one stage."""

    key: str  # the same on every reading, different for every session
    run: str  # the DVC experiment, or `WORKSPACE`
    stage: str  # with its item, e.g. "lora@count"
    pid: int
    started: float  # seconds since 1970
    ended: float | None = None  # None if the journal stops before the stage's end
    status: str = ""  # "finished", "failed", "interrupted", or "" without an end
    locked: bool = True  # DVC may have written its result into dvc.lock: the process is over
    params: Mapping[str, str] = field(default_factory=dict)  # flattened, as text
    points: tuple[Point, ...] = ()  # in the order they were journalled


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


def last_seconds(folder: Path) -> dict[str, float]:
    """How long each stage took the last time that it finished in the workspace, by name.

    With what sessions of the same params did before, which it went on from; a session that was
    killed outright says nothing of its end and is not counted.
    """
    took: dict[str, float] = {}
    before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for session in read_sessions(folder):
        if session.run == WORKSPACE and session.ended is not None:
            same = session.stage, tuple(sorted(session.params.items()))
            seconds = before.pop(same, 0.0) + session.ended - session.started
            if session.status == "finished":
                took[session.stage] = seconds
            else:
                before[same] = seconds
    return took


def _session(run: str, journal: str, events: Sequence[Mapping[str, Any]]) -> Session:
    start = events[0]
    end: Mapping[str, Any] = {"time": None, "status": ""}
    params, points = dict[str, str](), list[Point]()
    for event in events:
        if event["event"] == "end":
            end = event
        elif event["event"] == "params":
            params |= {key: str(value) for key, value in flatten(event["values"]).items()}
        elif event["event"] == "metric":
            value = float(event["value"])
            points.append(Point(event["name"], event["step"], value, event["time"]))
    key, stage = f"{journal}@{start['time']}", str(start["stage"])
    began, ended = (start["pid"], start["time"]), (end["time"], end["status"])
    return Session(key, run, stage, *began, *ended, params=params, points=tuple(points))


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
