"""What DVC knows: the workspace and the experiments, each with params, metrics and its lock."""

import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selma.tracking.journals import WORKSPACE, flatten, numbers

logger = logging.getLogger(__name__)
PARAMS_FILE = "params.yaml"
METRICS_FILE = "metrics/metrics.json"
_TIMEOUT_S = 120

Reader = Callable[[str], bytes | None]  # path in the repository → its bytes there, if any


@dataclass(frozen=True)
class LockedStage:
    """A stage in dvc.lock: what decides its result, and the hashes of its outputs."""

    fingerprint: str
    outs: Mapping[str, str]  # path → md5


@dataclass(frozen=True)
class Variant:
    """One state of the pipeline: the workspace, or an experiment.

    Attributes:
        name: of the run in MLflow.
        run: the folder of its journals.
        revision: the experiment's commit; "" for the workspace.
        baseline: the commit it started from; "" for the workspace.
        params: flattened params.yaml, as text.
        metrics: flattened metrics/metrics.json.
        stages: per stage, its entry in dvc.lock.
        read: gives a file of that state.
    """

    name: str
    run: str
    revision: str
    baseline: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    stages: Mapping[str, LockedStage]
    read: Reader


def parse_lock(text: str) -> dict[str, LockedStage]:
    """Read a dvc.lock: the fingerprint covers command, dependencies' hashes and params."""
    from ruamel.yaml import YAML

    stages = (YAML(typ="safe").load(text) or {}).get("stages", {})
    return {name: _locked(entry) for name, entry in stages.items()}


def _locked(entry: Mapping[str, Any]) -> LockedStage:
    dependencies = [[dep["path"], dep.get("md5")] for dep in entry.get("deps", [])]
    deciding = [entry["cmd"], dependencies, entry.get("params", {})]
    digest = hashlib.sha256(json.dumps(deciding, sort_keys=True, default=str).encode())
    outs = {out["path"]: str(out.get("md5", "")) for out in entry.get("outs", [])}
    return LockedStage(digest.hexdigest()[:16], outs)


def workspace_variant(root: Path) -> Variant:
    """Describe the files as they lie in the workspace."""
    from ruamel.yaml import YAML

    def read(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    described = _output(root, "git", "describe", "--always", "--dirty")
    params = YAML(typ="safe").load((read(PARAMS_FILE) or b"").decode()) or {}
    return Variant(
        name=f"repro-{(described or b'no-git').decode().strip()}",
        run=WORKSPACE,
        revision="",
        baseline="",
        params=_texts(params),
        metrics=numbers(json.loads(read(METRICS_FILE) or b"{}")),
        stages=parse_lock((read("dvc.lock") or b"").decode()),
        read=read,
    )


def experiment_variants(root: Path) -> list[Variant]:
    """List the finished DVC experiments, in DVC's order; none where DVC cannot tell."""
    shown = _output(root, sys.executable, "-m", "dvc", "exp", "show", "--json")
    return parse_experiments(shown, lambda rev, path: _output(root, "git", "show", f"{rev}:{path}"))


def parse_experiments(
    shown: bytes | None, read: Callable[[str, str], bytes | None]
) -> list[Variant]:
    """Read the output of ``dvc exp show --json``.

    Args:
        shown: the output, None if there is none.
        read: gives the file of a revision, if it is there.
    """
    variants = []
    for baseline in json.loads(shown or b"[]"):
        for experiment in baseline["experiments"] or []:
            for state in experiment["revs"] or []:
                if state["data"] and state["name"] and state["rev"] != WORKSPACE:
                    variants.append(_experiment(state, baseline["rev"], read))
    return variants


def _experiment(
    state: Mapping[str, Any], baseline: str, read: Callable[[str, str], bytes | None]
) -> Variant:
    def data(kind: str, path: str) -> Any:
        return (state["data"][kind] or {}).get(path, {}).get("data") or {}

    revision = state["rev"]
    return Variant(
        name=state["name"],
        run=state["name"],
        revision=revision,
        baseline=baseline,
        params=_texts(data("params", PARAMS_FILE)),
        metrics=numbers(data("metrics", METRICS_FILE)),
        stages=parse_lock((read(revision, "dvc.lock") or b"").decode()),
        read=lambda path: read(revision, path),
    )


def _texts(tree: object) -> dict[str, str]:
    return {key: str(value) for key, value in flatten(tree).items() if key}


def _output(root: Path, *command: str) -> bytes | None:
    """Run a command in the repository; None if it cannot be run or fails."""
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("%s: %s", " ".join(command), error)
        return None
    return done.stdout
