"""A study's runs by name: what decides a run's results decides the name of its experiment."""

import hashlib
import json
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selma.core.errors import ConfigError
from selma.runtime.yaml_files import parse_yaml
from selma.studies.git import head, read_file, tracked
from selma.studies.settings import PARAMS
from selma.studies.study_file import Study

PIPELINE, LOCK = "dvc.yaml", "dvc.lock"
OUTPUTS = ("outs", "metrics", "plots")
_PATHS = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Experiment:
    """One run: a variant with a seed. The name is its DVC experiment's."""

    name: str
    variant: str
    seed: int
    settings: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.variant}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """A study on a commit: its runs in their order, and the committed files that decide them."""

    commit: str
    experiments: tuple[Experiment, ...]
    deciding: tuple[str, ...]


def plan(study: Study, root: Path) -> Plan:
    """Name the runs of a study at the commit at hand.

    A run's name ends in a fingerprint of its settings and targets, of params.yaml, dvc.yaml and of
    what params name, or stages that the targets need: committed files and folders, and outputs of
    other pipelines, by the hashes in their locks. So on a commit that changed only a document, or a
    model that no run uses, it is the same run, and after a change of the study's file only what
    changed is another one.
    """
    commit = head(root)
    files = tracked(root, commit)
    pipeline, params = (_read(root, commit, name) for name in (PIPELINE, PARAMS))
    stages = _stages(pipeline)
    made = tuple(path for stage in stages.values() for path in _paths(stage, OUTPUTS) if path)
    made = (*made, *(path for path in files if path.endswith("/.gitignore")))  # DVC writes them
    inputs = {path: about for path, about in files.items() if not path.startswith(made)}
    locked = dict(_locked(root, commit, inputs))
    known = inputs | locked
    in_params = set(_strings(params))
    experiments, deciding = [], set[str]()
    for variant, seed in study.runs():
        settings = study.settings_of(variant, seed)
        named = in_params | set(_PATHS.findall(" ".join(settings)))
        needed = _needed(stages, study.targets, named)
        deps = {path for name in needed for path in _paths(stages[name], ("deps",)) if path}
        named |= {f"{path}/" for path in deps}  # any of them may be a folder
        own = sorted(_deciding(known, named), key=lambda path: (path in locked, path))
        state = [f"{path} {known[path]}" for path in own]
        text = json.dumps([settings, study.targets, state])
        mark = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{study.name}-{variant}-{seed}-{mark}"
        experiments.append(Experiment(name, variant, seed, tuple(settings)))
        deciding.update(own)
    deciding |= {path for path in inputs if path.endswith(f"/{LOCK}")}
    return Plan(commit, tuple(experiments), tuple(sorted(deciding)))


def _deciding(paths: Collection[str], named: Collection[str]) -> set[str]:
    """Choose what is named, lies in a folder that is or holds what is, and what `dvc add` pins."""
    folders = {name.rstrip("/") for name in named if "/" in name}
    chosen = {PIPELINE, PARAMS, *named}.union(*map(_above, folders))
    return {
        path for path in paths if path in chosen or _above(path) & folders or path.endswith(".dvc")
    }


def _above(path: str) -> set[str]:
    """List a path and the folders that it lies in."""
    parts = path.split("/")
    return {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}


def _locked(root: Path, commit: str, files: Collection[str]) -> Iterator[tuple[str, str]]:
    """List the outputs of other pipelines than the main one with what their locks say of them."""
    for lock in sorted(path for path in files if path.endswith(f"/{LOCK}")):
        folder = posixpath.dirname(lock)
        pipeline = f"{folder}/{PIPELINE}"
        stages = _stages(_read(root, commit, pipeline)) if pipeline in files else {}
        for name, stage in _stages(_read(root, commit, lock)).items():
            about = stages.get(name.partition("@")[0], {})
            home = posixpath.join(folder, _body(about).get("wdir", ""))
            for out in stage.get("outs", []):
                path = posixpath.normpath(posixpath.join(home, out["path"]))
                yield path, json.dumps(out, sort_keys=True)


def _read(root: Path, commit: str, name: str) -> Mapping[str, Any]:
    """Read a YAML file of a commit, {} if it is empty; ConfigError if it has no keys."""
    try:
        text = read_file(root, commit, name).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} as committed: not a text file ({error})") from error
    found = parse_yaml(text, f"{name} as committed ({commit[:7]})") or {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"{name} as committed ({commit[:7]}): expected keys, got {found!r:.40}")
    return found


def _stages(file: Mapping[str, Any]) -> Mapping[str, Any]:
    return file.get("stages") or {}


def _needed(
    stages: Mapping[str, Any], targets: Collection[str], named: Collection[str]
) -> set[str]:
    """Choose the stages that targets need; all if there are none, or one is no stage's name.

    A dependency that is a template alone may be whatever the params name.
    """
    waiting = [target.partition("@")[0] for target in targets]
    if not waiting or not set(waiting) <= set(stages):
        return set(stages)
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        for path in _paths(stages[name], ("deps",)):
            wanted = [path] if path else [one for one in named if "/" in one]
            waiting += [
                other
                for other, stage in stages.items()
                if any(_meet(out, one) for out in _paths(stage, OUTPUTS) for one in wanted)
            ]
    return needed


def _meet(out: str, dep: str) -> bool:
    """Whether one path may lie in the other, as far as they are known: up to a template."""
    return bool(out) and (out.startswith(dep) or dep.startswith(out))


def _paths(stage: Any, sections: Collection[str]) -> Iterator[str]:
    """List what a stage names in some of its sections; a path ends where a template begins."""
    body = _body(stage)
    for entry in [entry for section in sections for entry in body.get(section) or []]:
        path = next(iter(entry)) if isinstance(entry, Mapping) else str(entry)
        yield path.partition("${")[0]


def _body(stage: Any) -> Any:
    """Take a stage's own keys, also of one below `foreach`; none of what is no stage."""
    return stage.get("do", stage) if isinstance(stage, Mapping) else {}


def _strings(value: Any) -> Iterator[str]:
    """List all strings of a YAML file."""
    if isinstance(value, Mapping):
        yield from _strings([*value, *value.values()])
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, str):
        yield value
