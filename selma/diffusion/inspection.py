"""What can be known to be wrong with a backbone's folder without loading a weight."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selma.diffusion.loading import FAMILIES


def backbone_problems(path: Path, inference_steps: int) -> Iterator[str]:
    """Say, naming the file, why a folder cannot be drawn with by so many steps."""
    index = _json(path / "model_index.json")
    if index is None:
        yield f"{path}: holds no model_index.json that is JSON, so it is no pipeline of diffusers"
        return
    family = FAMILIES.get(str(index.get("_class_name")))
    if family is None:
        known = ", ".join(FAMILIES)
        yield f"{path}: is a {index.get('_class_name')}; what can be used: {known}"
        return
    for part in family.weighted:
        if _json(path / part / "config.json") is None:
            yield f"{path / part}/config.json: is missing or not JSON"
        if not any((path / part).glob("*.safetensors")):
            yield f"{path / part}: holds no .safetensors; other formats are never loaded"
    config = _json(path / "scheduler" / "scheduler_config.json")
    if config is None:
        yield f"{path}/scheduler/scheduler_config.json: is missing or not JSON"
        return
    name = config.get("_class_name")
    if name not in family.noise_schedulers:
        known = ", ".join(sorted(family.noise_schedulers))
        yield f"{path}/scheduler: unknown noise scheduler {name!r}; choose one of: {known}"
    steps = config.get("num_train_timesteps", 1000)
    if inference_steps > steps:
        yield f"inference_steps: {inference_steps} are more than the {steps} of {path}/scheduler"


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
