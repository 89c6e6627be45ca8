"""What dvc.yaml must say so that it fits params.yaml; a list of problems, in words."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

EXPERTS = "models/lora"
MIXTURE = "models/lora/mixture.safetensors"


def pipeline_problems(pipeline: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """Find where dvc.yaml and params.yaml disagree.

    Args:
        pipeline: the whole of dvc.yaml.
        params: the whole of params.yaml.
    """
    stages = pipeline.get("stages") or {}
    problems = list(_skill_problems(stages, set(params["skills"]), set(params["merge"]["weights"])))
    for name, entry in stages.items():
        stage = body(entry)
        problems += _command_problems(name, stage)
        problems += _out_problems(name, stage)
        problems += _param_problems(name, stage, params)
    return problems


def body(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a stage's description, also where it stands under `foreach`."""
    described: Mapping[str, Any] = entry.get("do", entry)
    return described


def paths_of(entries: Any) -> list[str]:
    """Give the paths of deps, outs, metrics or plots, with or without options."""
    return [next(iter(e)) if isinstance(e, Mapping) else str(e) for e in entries or []]


def _skill_problems(
    stages: Mapping[str, Any], skills: set[str], weights: set[str]
) -> Iterator[str]:
    yield from _differences("params.yaml: merge.weights", weights, skills)
    listed = {
        "merge": _stems(stages.get("merge"), EXPERTS),
        "mixture": _stems(stages.get("mixture"), "data/images"),
    }
    for name, (dependencies, command) in listed.items():
        yield from _differences(f"dvc.yaml: {name}.deps", dependencies, skills)
        yield from _differences(f"dvc.yaml: {name}.cmd", command, skills)


def _stems(entry: Mapping[str, Any] | None, folder: str) -> tuple[set[str], set[str]]:
    """Give the names of a folder's files among a stage's deps and in its command."""
    stage = body(entry) if entry else {}
    outs = paths_of(stage.get("outs"))
    words = [word for word in str(stage.get("cmd", "")).split() if word not in outs]

    def stems(paths: list[str]) -> set[str]:
        files = [PurePosixPath(path) for path in paths]
        return {file.stem for file in files if str(file.parent) == folder}

    return stems(paths_of(stage.get("deps"))), stems(words)


def _differences(where: str, seen: set[str], skills: set[str]) -> Iterator[str]:
    if seen - skills:
        yield f"{where} names {', '.join(sorted(seen - skills))}, not in params.yaml: skills"
    if skills - seen:
        yield f"{where} lacks the skill {', '.join(sorted(skills - seen))}"


def _command_problems(name: str, stage: Mapping[str, Any]) -> Iterator[str]:
    words = str(stage.get("cmd", "")).split()
    if words[:2] != ["python", "-m"] or not words[2:] or not words[2].startswith("stages."):
        yield (
            f"dvc.yaml: {name}.cmd must start with `python -m stages.`, got "
            f"{' '.join(words[:3])!r}; only so does a queued experiment run its own code"
        )


def _out_problems(name: str, stage: Mapping[str, Any]) -> Iterator[str]:
    for out in stage.get("outs") or []:
        if isinstance(out, Mapping) and any(o.get("cache") is False for o in out.values()):
            yield (
                f"dvc.yaml: {name}.outs: {next(iter(out))} has `cache: false`, which switches the "
                "run-cache off; declare it under metrics or plots"
            )


def _param_problems(
    name: str, stage: Mapping[str, Any], params: Mapping[str, Any]
) -> Iterator[str]:
    for key in stage.get("params") or []:
        if isinstance(key, str) and key.split(".")[0] not in params:
            yield f"dvc.yaml: {name}.params: {key} is not in params.yaml"
