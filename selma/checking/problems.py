"""Everything that can be known to be wrong before a run, all at once."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import SelmaError
from selma.runtime.params import JudgeParams, Params, load_params

MADE = {"models/experts": "skills", "models/merged": "merges", "models/mixtures": "mixtures"}


def find_problems(root: Path, params_path: Path) -> list[str]:
    """Check a params file of the repository at root, and the presets; nothing is changed.

    Checked are choices, skill files, models and keys.

    Returns:
        One line per problem; empty if a run can start.
    """
    found = list(_attempt("", load_params, params_path))
    if not found:
        params = load_params(params_path)
        for check in (_prompts, _backbone, _merges, _models, _judges, _measures, _preferences):
            found += check(root, params)
        available = os.cpu_count() or 1
        if params.threads > available:
            found.append(f"threads: {params.threads} are more than the {available} processors here")
    for preset in sorted((root / "presets").glob("*.yaml")):
        found += _attempt("", load_params, preset)
    return found


def _attempt(key: str, action: Callable[..., Any], *args: Any, **named: Any) -> Iterator[str]:
    """Call the action; what it raises becomes a problem of a key in params.yaml."""
    try:
        action(*args, **named)
    except SelmaError as error:
        yield f"{key}: {error}" if key else str(error)


def _prompts(root: Path, params: Params) -> Iterator[str]:
    from selma.llm.generators import make_generator
    from selma.prompts.skills import read_skill

    llm = params.prompts.model_dump(include={"backend", "model", "revision", "temperature"})
    yield from _attempt("prompts", make_generator, **llm)
    for skill, row in params.skills.items():
        yield from _attempt(f"skills.{skill}.instructions", read_skill, root / row.instructions)


def _backbone(root: Path, params: Params) -> Iterator[str]:
    from selma.diffusion.inspection import backbone_problems

    folder = root / params.backbone.path
    steps = max(params.images.inference_steps, params.samples.inference_steps)
    if not folder.is_dir():
        yield _absent("backbone.path", params.backbone.path)
    else:
        yield from (f"backbone.path: {problem}" for problem in backbone_problems(folder, steps))


def _merges(root: Path, params: Params) -> Iterator[str]:
    from selma.merging.methods import MERGE_METHODS, absolute_weights

    for name, row in params.merges.items():
        key = f"merges.{name}"
        yield from _attempt(f"{key}.method", choose, "merge method", row.method, MERGE_METHODS)
        yield from _attempt(key, absolute_weights, row.weights, row.scale)


def _models(root: Path, params: Params) -> Iterator[str]:
    """A model's weights are there, or a row makes them."""
    for name, row in params.models.items():
        path = Path(row.weights)
        section = MADE.get(path.parent.as_posix())
        if section is None and not (root / path).exists():
            yield _absent(f"models.{name}.weights", row.weights)
        elif section is not None and path.stem not in getattr(params, section):
            rows = ", ".join(getattr(params, section)) or "none"
            yield f"models.{name}.weights: {path} is made by no row of {section}; rows: {rows}"


def _judges(root: Path, params: Params) -> Iterator[str]:
    from selma.judges.templates import TEMPLATES

    for name, row in params.judges.items():
        yield from _judge(root, f"judges.{name}", row)
    for name, answers in params.answers.items():
        key = f"answers.{name}.template"
        yield from _attempt(key, choose, "judge template", answers.template, TEMPLATES)
    for name in params.benchmarks:
        path = root / "data/benchmarks" / f"{name}.parquet"
        if not path.is_file():
            yield f"benchmarks.{name}: {path}: no such file; `selma import` or `dvc pull`"


def _judge(root: Path, key: str, row: JudgeParams) -> Iterator[str]:
    from selma.judges.loading import JUDGES, WITHOUT_WEIGHTS
    from selma.judges.normalise import NORMALISERS

    yield from _attempt(f"{key}.kind", choose, "judge", row.kind, JUDGES)
    yield from _attempt(f"{key}.normalise", choose, "answer normaliser", row.normalise, NORMALISERS)
    if row.kind not in JUDGES:
        return
    if (row.model is None) == (row.kind == "endpoint"):
        expected = "the model's name" if row.kind == "endpoint" else "null"
        yield f"{key}.model: expected {expected}, got {row.model!r}"
    elif row.kind == "endpoint":
        yield from _attempt(key, _load_endpoint, {**row.model_dump(), "path": row.model})
    if not (root / row.path).exists():
        yield _absent(f"{key}.path", row.path)
    elif row.kind not in WITHOUT_WEIGHTS:
        yield from _model_folder(f"{key}.path", root / row.path)


def _load_endpoint(values: dict[str, Any]) -> None:
    from selma.judges.loading import judge_settings, load_judge

    load_judge("endpoint", judge_settings(values, template="bare"))


def _measures(root: Path, params: Params) -> Iterator[str]:
    from selma.metrics.dsg import DSG_MEANS, DSG_POLICIES
    from selma.metrics.tifa import TIFA_MAPPINGS

    tables: dict[str, dict[str, Mapping[str, Any]]] = {
        "dsg": {"policy": DSG_POLICIES, "mean": DSG_MEANS},
        "tifa": {"mapping": TIFA_MAPPINGS},
    }
    for name, row in params.measures.items():
        key = f"measures.{name}"
        for option, table in tables[row.kind].items():
            value = getattr(row, option)
            yield from _attempt(f"{key}.{option}", choose, f"{row.kind} {option}", value, table)
        if not (root / row.path).exists():
            yield _absent(f"{key}.path", row.path)


def _preferences(root: Path, params: Params) -> Iterator[str]:
    from selma.measuring.scoring import check_version
    from selma.scorers.preference import SCORERS, read_origin

    for name, row in params.preferences.items():
        key, folder = f"preferences.{name}", root / row.path
        yield from _attempt(f"{key}.kind", choose, "scorer", row.kind, SCORERS)
        if row.kind not in SCORERS:
            continue
        yield from _attempt(key, check_version, row.kind, row.version, row.antialias)
        if not folder.is_dir():
            yield _absent(f"{key}.path", row.path)
            continue
        yield from _attempt(f"{key}.path", read_origin, folder, row.kind)
        yield from _model_folder(f"{key}.path", folder)


def _model_folder(key: str, folder: Path) -> Iterator[str]:
    """What a folder lacks that holds one model in transformers' layout."""
    if not (folder / "config.json").is_file():
        yield f"{key}: {folder}: holds no config.json, so it is no model's folder"
    if not any(folder.glob("*.safetensors")):
        yield f"{key}: {folder}: holds no .safetensors; other formats are never loaded"


def _absent(key: str, path: str) -> str:
    return f"{key}: {path}: no such file or folder; run `dvc pull`, or put it there"
