"""What git and DVC know: the state at hand and the experiments, with params, metrics and lock."""

import hashlib
import json
import logging
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from selma.tracking.journals import WORKSPACE, flatten, numbers

logger = logging.getLogger(__name__)
PARAMS_FILE = "params.yaml"
METRICS_FILE = "metrics/metrics.json"
_REF = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+) ([0-9a-f]+)")
_TIMEOUT_S = 120

Reader = Callable[[str], bytes | None]  # path in the repository → its bytes there, if any


class Out(NamedTuple):
    """An output in dvc.lock."""

    md5: str
    size: int


class LockedStage(NamedTuple):
    """A stage in dvc.lock: what decides its result, and its outputs by path."""

    fingerprint: str
    outs: Mapping[str, Out]


@dataclass(frozen=True)
class Variant:
    """One state of the pipeline: the workspace, or an experiment."""

    name: str  # of the run in MLflow
    run: str  # the folder of its journals
    revision: str  # the experiment's commit; "" for the workspace and a running experiment
    baseline: str  # the commit it started from; "" for the workspace
    params: Mapping[str, str]  # flattened params.yaml, as text
    metrics: Mapping[str, float]  # flattened metrics/metrics.json
    stages: Mapping[str, LockedStage]  # in dvc.lock
    read: Reader  # returns a file of that state


def parse_lock(text: str) -> dict[str, LockedStage]:
    """Read a dvc.lock: the fingerprint covers command, dependencies' hashes and params."""
    return {name: _locked(entry) for name, entry in _yaml(text).get("stages", {}).items()}


def _locked(entry: Mapping[str, Any]) -> LockedStage:
    dependencies = [[dep["path"], dep.get("md5")] for dep in entry.get("deps", [])]
    deciding = [entry["cmd"], dependencies, entry.get("params", {})]
    digest = hashlib.sha256(json.dumps(deciding, sort_keys=True, default=str).encode())
    outs = {out["path"]: Out(str(out.get("md5", "")), int(out.get("size", 0)))
            for out in entry.get("outs", [])}  # fmt: skip
    return LockedStage(digest.hexdigest()[:16], outs)


def current_variant(root: Path) -> Variant:
    """Describe the files as they lie: those of the experiment that is running, or the workspace's.

    DVC tells a stage of an experiment its name and baseline, and runs it in the experiment's own
    folder; without an experiment that is the repository.
    """
    name = os.environ.get("DVC_EXP_NAME", "")
    folder = Path() if name else root

    def read(path: str) -> bytes | None:
        return (folder / path).read_bytes() if (folder / path).is_file() else None

    if name:
        return _variant(root, name, name, "", os.environ.get("DVC_EXP_BASELINE_REV", ""), read)
    described = (_git(root, "describe", "--always", "--dirty") or b"no-git").decode().strip()
    return _variant(root, f"repro-{described}", WORKSPACE, "", "", read)


def experiment_variants(root: Path) -> list[Variant]:
    """List the finished DVC experiments of all commits, oldest first; none without git."""
    form = "--format=%(refname) %(objectname)"
    shown = _git(root, "for-each-ref", "--sort=committerdate", form, "refs/exps") or b""
    variants = []
    for line in shown.decode().splitlines():
        if found := _REF.fullmatch(line):
            start, rest, name, revision = found.groups()
            read = partial(_show, root, revision)
            variants.append(_variant(root, name, name, revision, start + rest, read))
    return variants


def _show(root: Path, revision: str, path: str) -> bytes | None:
    return _git(root, "show", f"{revision}:{path}")


def _variant(
    root: Path, name: str, run: str, revision: str, baseline: str, read: Reader
) -> Variant:
    files = (PARAMS_FILE, METRICS_FILE, "dvc.lock")
    params, metrics, lock = ((read(path) or b"").decode() for path in files)
    stages = parse_lock(lock)
    cached = {path: out.md5 for stage in stages.values() for path, out in stage.outs.items()}

    def read_or_fetch(path: str) -> bytes | None:
        """Outputs that are not in git lie in DVC's cache."""
        md5 = cached.get(path, "")
        blob = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        data = read(path)
        return blob.read_bytes() if data is None and md5 and blob.is_file() else data

    texts = {key: str(value) for key, value in flatten(_yaml(params)).items()}
    flat = numbers(json.loads(metrics or "{}"))
    return Variant(name, run, revision, baseline, texts, flat, stages, read_or_fetch)


def _yaml(text: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text) or {}


def _git(root: Path, *arguments: str) -> bytes | None:
    """Run git in the repository; None if it cannot be run or fails."""
    options: dict[str, Any] = {"capture_output": True, "timeout": _TIMEOUT_S, "check": True}
    try:
        return bytes(subprocess.run(["git", *arguments], cwd=root, **options).stdout)
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("git %s: %s", " ".join(arguments), error)
        return None
