"""Brings sessions and variants to MLflow: a parent run per variant, a child per session.

A second call with the same input changes nothing. A stage that DVC restored from its cache has no
process and so no run: the parent's tag `dvc.stages` says it was cached, and by which run it was
made if that is known.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from selma.tracking.journals import Point, Session, numbers
from selma.tracking.store import Run, Store, cut, safe_name
from selma.tracking.variants import LockedStage, Variant

PARENT = "mlflow.parentRunId"
VARIANT, SESSION, FINGERPRINT = "selma.variant", "selma.session", "selma.fingerprint"
EVENTS, SUPERSEDED = "selma.events", "selma.superseded"
EXPERIMENT, REVISION, BASELINE = "dvc.exp", "dvc.exp_rev", "dvc.baseline_rev"
STAGE, STAGES = "dvc.stage", "dvc.stages"
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


@dataclass(frozen=True)
class Summary:
    """What one variant's run now says."""

    name: str
    run_id: str
    status: str
    stages: Mapping[str, str]  # stage → "ran", "cached", "cached -> run id", "running", "failed"
    metrics: Mapping[str, float]


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sync(
    store: Store,
    variants: Sequence[Variant],
    sessions: Sequence[Session],
    alive: Callable[[int], bool],
    now: float,
) -> list[Summary]:
    """Bring all to MLflow.

    Args:
        store: is written to.
        variants: the workspace and the experiments.
        sessions: oldest first.
        alive: tells whether a process runs; one that left no end and does not run was killed.
        now: seconds since 1970, for a variant that has no session.

    Returns:
        One summary per variant, in their order.
    """
    runs = store.runs()
    children = {run.tags[SESSION]: run for run in runs if SESSION in run.tags}
    parents = []
    for variant in variants:
        own = [session for session in sessions if session.run == variant.run]
        started = next((s.started for s in own if s.key not in children), now)
        parent = _parent(store, runs, variant, started)
        parents.append(parent)
        for session in own:
            if session.key not in children:
                children[session.key] = _create_child(store, parent, session)
            _update_child(store, children[session.key], session, alive)
        _bind(store, variant, own, children)
    return [
        _finish(store, variant, parent, sessions, children, now)
        for variant, parent in zip(variants, parents, strict=True)
    ]


def _parent(store: Store, runs: Sequence[Run], variant: Variant, started: float) -> Run:
    """Find or make a variant's run; one that says other params is superseded, not changed."""
    params = {safe_name(key): cut(value) for key, value in variant.params.items()}
    for run in runs:
        if run.tags.get(VARIANT) != variant.name or SUPERSEDED in run.tags:
            continue
        if run.params in ({}, params) and run.tags[REVISION] in ("", variant.revision):
            store.tag(run, REVISION, variant.revision)
            break
        store.tag(run, SUPERSEDED, variant.revision or "changed params")
    else:
        tags = {VARIANT: variant.name, REVISION: variant.revision, BASELINE: variant.baseline}
        if variant.revision:
            tags[EXPERIMENT] = variant.name
        run = store.create(variant.name, started, tags)
    store.log_params(run, params)
    return run


def _create_child(store: Store, parent: Run, session: Session) -> Run:
    tags = {PARENT: parent.run_id, SESSION: session.key, STAGE: session.stage}
    return store.create(session.stage, session.started, tags)


def _update_child(store: Store, child: Run, session: Session, alive: Callable[[int], bool]) -> None:
    store.log_params(child, {safe_name(key): value for key, value in session.params.items()})
    done = int(child.tags.get(EVENTS, "0"))
    if len(session.points) > done:
        store.log_points(child, session.points[done:])
        store.tag(child, EVENTS, str(len(session.points)))
    if session.status:
        store.set_status(child, _STATUS[session.status], session.ended)
    elif child.status == "RUNNING" and not alive(session.pid):
        store.set_status(child, "KILLED", None)


def _bind(
    store: Store, variant: Variant, sessions: Sequence[Session], children: Mapping[str, Run]
) -> None:
    """Say of each stage's newest session, once, which locked result it made, and log that."""
    newest = {session.stage: session for session in sessions}
    for stage, session in newest.items():
        child = children[session.key]
        locked = variant.stages.get(stage)
        if locked and session.status == "finished" and FINGERPRINT not in child.tags:
            _log_outs(store, child, variant, locked, session.ended or session.started)
            store.tag(child, FINGERPRINT, locked.fingerprint)


def _log_outs(store: Store, child: Run, variant: Variant, locked: LockedStage, time: float) -> None:
    """Log the loss curves and metrics that the stage wrote, if the files are still those."""
    for path, md5 in locked.outs.items():
        if not path.startswith(("plots/loss/", "metrics/")):
            continue
        data = variant.read(path)
        if data is None or hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
            continue
        if path.endswith(".csv"):
            lines = [line.split(",") for line in data.decode().splitlines()[1:]]
            store.log_points(child, [Point("loss", int(s), float(v), time) for s, v in lines])
        elif path.endswith(".json"):
            store.log_metrics(child, numbers(json.loads(data)), time)


def _finish(
    store: Store,
    variant: Variant,
    parent: Run,
    sessions: Sequence[Session],
    children: Mapping[str, Run],
    now: float,
) -> Summary:
    own = {s.stage: children[s.key] for s in sessions if _is_child(children.get(s.key), parent)}
    makers: dict[str, Run] = {}
    for run in sorted(children.values(), key=lambda run: (run.started_ms, run.run_id)):
        if FINGERPRINT in run.tags:
            makers.setdefault(run.tags[FINGERPRINT], run)
    states = {
        stage: _state(locked, own.get(stage), makers)
        for stage, locked in sorted(variant.stages.items())
    }
    states |= {
        stage: "running" if child.status == "RUNNING" else "failed"
        for stage, child in own.items()
        if child.status != "FINISHED"
    }
    ended = max((s.ended or s.started for s in sessions if s.run == variant.run), default=now)
    store.log_metrics(parent, variant.metrics, ended)
    store.tag(parent, STAGES, json.dumps(states, sort_keys=True))
    statuses = {child.status for child in own.values()}
    if "RUNNING" in statuses:
        store.set_status(parent, "RUNNING", None)
    else:
        bad = statuses - {"FINISHED"}
        store.set_status(parent, "FAILED" if bad else "FINISHED", ended)
    return Summary(variant.name, parent.run_id, parent.status, states, variant.metrics)


def _is_child(run: Run | None, parent: Run) -> bool:
    return run is not None and run.tags.get(PARENT) == parent.run_id


def _state(locked: LockedStage, child: Run | None, makers: Mapping[str, Run]) -> str:
    if child and child.tags.get(FINGERPRINT) == locked.fingerprint:
        return "ran"
    maker = makers.get(locked.fingerprint)
    return f"cached -> {maker.run_id}" if maker else "cached"
