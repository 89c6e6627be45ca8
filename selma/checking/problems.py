"""`selma check`: everything that can be known to be wrong before a run, all at once."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selma.checking.pipeline import pipeline_problems
from selma.core.choices import choose
from selma.core.errors import SelmaError
from selma.runtime.params import Params, load_params, read_yaml

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find_problems(root: Path, params_path: Path) -> list[str]:
    """Check params, choices, skill files, presets, dvc.yaml and models; nothing is changed.

    Args:
        root: the repository.
        params_path: the params file to check.

    Returns:
        One line per problem; empty if a run can start.
    """
    problems: list[str] = []
    params = _tried(problems, lambda: load_params(params_path))
    if params is not None:
        problems += _choice_problems(params)
        problems += _skill_file_problems(root, params)
        problems += _model_problems(root, params)
        pipeline = _tried(problems, lambda: read_yaml(root / "dvc.yaml"))
        if isinstance(pipeline, dict):
            problems += pipeline_problems(pipeline, params.model_dump())
    for preset in sorted((root / "presets").glob("*.yaml")):
        _tried(problems, lambda path=preset: load_params(path))  # type: ignore[misc]
    return problems


def _tried(problems: list[str], action: Callable[[], Any]) -> Any:
    try:
        return action()
    except SelmaError as error:
        problems.append(str(error))
        return None


def _choice_problems(params: Params) -> list[str]:
    from selma.judges.loading import JUDGES
    from selma.judges.normalise import NORMALISERS
    from selma.judges.templates import TEMPLATES
    from selma.merging.methods import MERGE_METHODS, absolute_weights
    from selma.metrics.dsg import DSG_POLICIES
    from selma.metrics.tifa import TIFA_MAPPINGS

    problems: list[str] = []
    merge = params.merge
    _tried(problems, lambda: choose("merge.method", merge.method, MERGE_METHODS))
    _tried(problems, lambda: absolute_weights(merge.weights, merge.scale))
    answers = params.answers
    _tried(problems, lambda: choose("answers.judge", answers.judge, JUDGES))
    _tried(problems, lambda: choose("answers.dsg_template", answers.dsg_template, TEMPLATES))
    _tried(problems, lambda: choose("answers.tifa_template", answers.tifa_template, TEMPLATES))
    _tried(problems, lambda: choose("answers.normalise", answers.normalise, NORMALISERS))
    _tried(problems, lambda: choose("dsg.policy", params.dsg.policy, DSG_POLICIES))
    _tried(problems, lambda: choose("tifa.mapping", params.tifa.mapping, TIFA_MAPPINGS))
    return problems


def _skill_file_problems(root: Path, params: Params) -> list[str]:
    from selma.prompts.skills import read_skill

    problems: list[str] = []
    for skill in params.skills:
        path = root / "data" / "skills" / f"{skill}.yaml"
        _tried(problems, lambda path=path: read_skill(path))  # type: ignore[misc]
    return problems


def _model_problems(root: Path, params: Params) -> Iterator[str]:
    yield from _backbone_problems(root, params)
    yield from _judge_problems(root, params)
    for name, path in (
        ("pickscore", params.pickscore.path),
        ("imagereward", params.imagereward.path),
        ("hps", params.hps.path),
    ):
        if not (root / path).is_dir():
            yield f"{name}.path: {path}: no such folder; run `dvc pull`, or put the model there"


def _backbone_problems(root: Path, params: Params) -> Iterator[str]:
    model = params.backbone
    if not (root / model.path).is_dir():
        yield from _hub_problems("backbone", model.path, model.revision)
    elif not (root / model.path / "model_index.json").is_file():
        yield (
            f"backbone.path: {model.path}: holds no model_index.json, so it is no pipeline of "
            "diffusers"
        )


def _judge_problems(root: Path, params: Params) -> Iterator[str]:
    judge = params.answers
    if judge.path is None and judge.judge != "pocket":
        yield f"answers.path: the judge {judge.judge!r} needs a model: a folder or a Hub name"
    elif judge.path is not None and judge.judge != "endpoint" and not (root / judge.path).is_dir():
        yield from _hub_problems("answers", judge.path, judge.revision)
    sbert = params.tifa.sbert_path
    if params.tifa.mapping == "sbert" and (sbert is None or not (root / sbert).is_dir()):
        yield (
            f"tifa.sbert_path: {sbert}: no such folder; the mapping sbert needs "
            "sentence-transformers/all-mpnet-base-v2 there"
        )


def _hub_problems(name: str, path: str, revision: str | None) -> Iterator[str]:
    if path.startswith("models/") or not _HUB_ID.fullmatch(path):
        yield f"{name}.path: {path}: no such folder; run `dvc pull foundation/dvc.yaml`"
    elif revision is None or not _COMMIT.fullmatch(revision):
        yield (
            f"{name}.revision: {path} comes from the Hugging Face hub and must be pinned to a "
            f"commit (40 hexadecimal digits), got {revision!r}"
        )
