"""Brings sessions and variants to MLflow: a parent run per variant, a child per session.

A second call with the same input changes nothing. A stage that DVC restored from its cache has no
process and so no run: the parent's tag `dvc.stages` says it was cached, and by which run it was
made if that is known. Loss curves, report and merged adapters belong to the parent, whether they
were made or restored; a child has the curve and the metrics that its process wrote.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from selma.tracking.journals import WORKSPACE, Point, Session, numbers
from selma.tracking.store import Run, Store, cut, safe_name
from selma.tracking.variants import LockedStage, Out, Variant

PARENT = "mlflow.parentRunId"
VARIANT, SESSION, FINGERPRINT = "selma.variant", "selma.session", "selma.fingerprint"
EVENTS, SUPERSEDED, FILES = "selma.events", "selma.superseded", "selma.files"
EXPERIMENT, REVISION, BASELINE = "dvc.exp", "dvc.exp_rev", "dvc.baseline_rev"
STAGE, STAGES = "dvc.stage", "dvc.stages"
CURVES = "plots/loss/"
ARTIFACTS = ("report/", "models/merged/", "models/fits/", "models/searches/", "models/distilled/")
MAX_ARTIFACT_BYTES = 8 * 2**20  # a larger output is kept as its hash
Alive = Callable[[int], bool]  # whether a process, by its id, runs
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


@dataclass(frozen=True)
class Summary:
    """What one variant's run now says."""

    name: str
    run_id: str
    status: str
    stages: Mapping[str, str]  # stage → "ran", "cached", "cached -> run id", "running", "failed"
    metrics: Mapping[str, float]


def sync(
    store: Store, variants: Sequence[Variant], sessions: Sequence[Session], alive: Alive, now: float
) -> list[Summary]:
    """Bring variants, the state at hand last, and sessions, the oldest first, to MLflow.

    A session without an end whose process is not `alive` was killed. A variant without a session
    has the time `now`, in seconds since 1970. Returns a summary per variant that has a run.
    """
    runs = store.runs()
    children = {run.tags[SESSION]: run for run in runs if SESSION in run.tags}
    parents = []
    for variant in variants:
        own = [session for session in sessions if session.run == variant.run]
        new = [session for session in own if session.key not in children]
        if not new and _is_left_by_an_experiment(variant, variants):
            continue
        parent = _parent(store, runs, variant, new[0].started if new else now)
        parents.append((variant, parent))
        for session in own:
            if session.key not in children:
                tags = {PARENT: parent.run_id, SESSION: session.key, STAGE: session.stage}
                children[session.key] = store.create(session.stage, session.started, tags)
            _update_child(store, children[session.key], session, alive)
        _bind(store, variant, own, children)
    return [_finish(store, variant, parent, sessions, children, now) for variant, parent in parents]


def _is_left_by_an_experiment(variant: Variant, variants: Sequence[Variant]) -> bool:
    """Tell whether the workspace holds an experiment's results, which have a run already."""
    return variant.run == WORKSPACE and any(
        other.run != WORKSPACE and other.stages == variant.stages for other in variants
    )


def _parent(store: Store, runs: Sequence[Run], variant: Variant, started: float) -> Run:
    """Find or make a variant's run; one that says other params is superseded, not changed."""
    params = {safe_name(key): cut(value) for key, value in variant.params.items()}
    wanted = {VARIANT: variant.name, BASELINE: variant.baseline}
    for run in runs:
        if SUPERSEDED in run.tags or any(run.tags.get(k) != v for k, v in wanted.items()):
            continue
        if run.params in ({}, params) and run.tags[REVISION] in ("", variant.revision):
            store.tag(run, REVISION, variant.revision)
            break
        store.tag(run, SUPERSEDED, variant.revision or "changed params")
    else:
        tags = {**wanted, REVISION: variant.revision}
        if variant.run != WORKSPACE:
            tags[EXPERIMENT] = variant.name
        run = store.create(variant.name, started, tags)
    store.log_params(run, params)
    return run


def _update_child(store: Store, child: Run, session: Session, alive: Alive) -> None:
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
    for stage, session in {session.stage: session for session in sessions}.items():
        child, made = children[session.key], variant.stages.get(stage)
        finished = session.status == "finished" and session.locked
        if not made or not finished or FINGERPRINT in child.tags:
            continue
        time = session.ended or session.started
        for path, out in made.outs.items():
            if path.startswith((CURVES, "metrics/")) and (data := _unchanged(variant, path, out)):
                if path.endswith(".csv"):
                    store.log_points(child, _points("{}", data, time))
                elif path.endswith(".json"):
                    store.log_metrics(child, numbers(json.loads(data)), time)
        store.tag(child, FINGERPRINT, made.fingerprint)


def _unchanged(variant: Variant, path: str, out: Out) -> bytes | None:
    data = variant.read(path)
    return data if data is not None and _md5(data) == out.md5 else None


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _points(name: str, curve: bytes, time: float) -> list[Point]:
    """The points of each column of a curve, named after it as `name` says."""
    header, *lines = [line.split(",") for line in curve.decode().splitlines()]
    return [
        Point(name.format(column), int(step), float(value), time)
        for step, *values in lines
        for column, value in zip(header[1:], values, strict=True)
    ]


def _log_files(
    store: Store, parent: Run, variant: Variant, pending: Sequence[str], time: float
) -> None:
    """Log loss curves, report and merged adapters of all stages, each version once."""
    known = json.loads(parent.tags.get(FILES, "{}"))
    for stage, made in sorted(variant.stages.items()):
        for path, out in sorted(made.outs.items()):
            if not path.startswith((CURVES, *ARTIFACTS)):
                continue
            if stage in pending and (data := variant.read(path)):  # its hash is not locked yet
                out = Out(_md5(data), len(data))
            if known.get(path) == out.md5:
                continue
            if out.size > MAX_ARTIFACT_BYTES:
                pointer = {"path": path, **out._asdict(), REVISION: variant.revision}
                store.log_file(parent, f"{path}.json", json.dumps(pointer, indent=2).encode())
            elif (data := _unchanged(variant, path, out)) is None:
                continue
            elif path.startswith(CURVES):
                training = path.removeprefix(CURVES).removesuffix(".csv")
                store.log_points(parent, _points(f"{{}}/{training}", data, time))
            else:
                store.log_file(parent, path, data)
            known[path] = out.md5
    if known:
        store.tag(parent, FILES, json.dumps(known, sort_keys=True))


def _finish(
    store: Store,
    variant: Variant,
    parent: Run,
    sessions: Sequence[Session],
    children: Mapping[str, Run],
    now: float,
) -> Summary:
    here = [(s.stage, children[s.key]) for s in sessions if s.key in children]
    own = {stage: run for stage, run in here if run.tags.get(PARENT) == parent.run_id}
    pending = [s.stage for s in sessions if s.run == variant.run and not s.locked]
    oldest = sorted(children.values(), key=lambda run: (run.started_ms, run.run_id))
    makers = {run.tags[FINGERPRINT]: run for run in reversed(oldest) if FINGERPRINT in run.tags}
    stages = sorted(variant.stages.items())
    states = {stage: _state(made, own.get(stage), makers) for stage, made in stages}
    states |= dict.fromkeys(pending, "ran")
    words = {"RUNNING": "running", "FINISHED": ""}
    unfinished = {stage: words.get(child.status, "failed") for stage, child in own.items()}
    states |= {stage: word for stage, word in unfinished.items() if word}
    ended = max((s.ended or s.started for s in sessions if s.run == variant.run), default=now)
    store.log_metrics(parent, variant.metrics, ended)
    _log_files(store, parent, variant, pending, ended)
    store.tag(parent, STAGES, json.dumps(states, sort_keys=True))
    statuses = {child.status for child in own.values()} - {"FINISHED"}
    going_on = "RUNNING" in statuses
    status = "RUNNING" if going_on else "FAILED" if statuses else "FINISHED"
    store.set_status(parent, status, None if going_on else ended)
    return Summary(variant.name, parent.run_id, parent.status, states, variant.metrics)


def _state(made: LockedStage, child: Run | None, makers: Mapping[str, Run]) -> str:
    if child and child.tags.get(FINGERPRINT) == made.fingerprint:
        return "ran"
    maker = makers.get(made.fingerprint)
    return f"cached -> {maker.run_id}" if maker else "cached"
