"""`selma check`: everything that can be known to be wrong before a run, all at once."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selma.checking.corrections import check_corrections
from selma.checking.searches import check_measure, check_searches
from selma.core.choices import choose
from selma.core.errors import SelmaError
from selma.runtime.params import load_params
from selma.runtime.sections import CompositeParams, SwitchParams
from selma.runtime.whole import Params

MODEL_TYPES = {  # kind of judge or scorer → `model_type` of the config that its loader takes
    "blip2": "blip-2", "instructblip": "instructblip", "blip-vqa": "blip", "vilt": "vilt",
    "pickscore": "clip", "hps": "clip", "clipscore": "clip", "imagereward": "imagereward",
}  # fmt: skip
MPLUG = ("configuration.json", "config.yaml", "vocab.txt", "pytorch_model.bin")  # of its release
MADE = {
    "models/experts": "skills", "models/fits": "fits", "models/merged": "merges",
    "models/mixtures": "mixtures", "models/routers": "routers", "models/searches": "searches",
}  # fmt: skip


def find_problems(root: Path, params_path: Path) -> list[str]:
    """Check params, choices, skill files, presets, models and keys; nothing is changed.

    Args:
        root: the repository.
        params_path: the params file to check.

    Returns:
        One line per problem; empty if a run can start.
    """
    problems = _Problems()
    params = problems.attempt(lambda: load_params(params_path))
    if params is not None:
        for check in CHECKS:
            check(root, params, problems)
        available = os.cpu_count() or 1
        if params.threads > available:
            problems.add(f"threads: {params.threads} are more than the {available} processors here")
    for preset in sorted((root / "presets").glob("*.yaml")):
        problems.attempt(lambda path=preset: load_params(path))
    return problems.found


class _Problems:
    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        self.found.append(problem)

    def attempt(self, action: Callable[..., Any], key: str = "") -> Any:
        """Do something; what it raises becomes a problem of the key in params.yaml."""
        try:
            return action()
        except SelmaError as error:
            self.add(f"{key}: {error}" if key else str(error))
            return None


def _hub(root: Path, params: Params, problems: _Problems) -> None:
    for name, row in params.hub.items():
        if row.revision is None:
            problems.add(
                f"hub.{name}.revision: is open; `selma hub pin {name}` asks the Hub for the newest "
                f"of {row.repo} and fills it in"
            )


def _prompts(root: Path, params: Params, problems: _Problems) -> None:
    from selma.llm.budget import LEDGER
    from selma.llm.generators import LlmOptions, make_answer
    from selma.prompts.skills import read_skill

    llm = LlmOptions(**params.llm.model_dump())
    problems.attempt(lambda: make_answer(llm, root / LEDGER), "llm")
    for skill, row in params.skills.items():
        path = root / row.instructions
        problems.attempt(lambda path=path: read_skill(path), f"skills.{skill}.instructions")


def _backbone(root: Path, params: Params, problems: _Problems) -> None:
    from selma.diffusion.inspection import backbone_problems

    folder = root / params.backbone.path
    if not folder.is_dir():
        _absent(problems, params, "backbone.path", params.backbone.path)
        return
    own = [row.images.inference_steps or 0 for row in params.skills.values()]  # type: ignore[attr-defined]
    own += [row.samples.inference_steps or 0 for row in params.searches.values()]  # type: ignore[attr-defined]
    steps = max(params.images.inference_steps, params.samples.inference_steps, *own)
    for problem in backbone_problems(folder, steps):
        problems.add(f"backbone.path: {problem}")


def _merges(root: Path, params: Params, problems: _Problems) -> None:
    from selma.merging.merge import Settings, check_settings

    for name, row in params.merges.items():
        settings = Settings(**row.model_dump(), seed=params.seed)
        problems.attempt(lambda s=settings: check_settings(s), f"merges.{name}")


def _routers(root: Path, params: Params, problems: _Problems) -> None:
    from selma.diffusion.expert_checks import check_router

    for name, row in params.routers.items():
        problems.attempt(lambda r=row: check_router(r.skills, r.top_k), f"routers.{name}")


def _models(root: Path, params: Params, problems: _Problems) -> None:
    """A model's weights are there and can be loaded, or a row makes them."""
    from selma.diffusion.inspection import backbone_problems

    for name, row in params.models.items():
        key, path = f"models.{name}.weights", Path(row.weights)
        if isinstance(row, CompositeParams | SwitchParams):
            _experts(root, params, problems, f"models.{name}.experts", row)
            continue
        section = MADE.get(path.parent.as_posix())
        if section is not None and path.stem not in getattr(params, section):
            rows = ", ".join(getattr(params, section)) or "none"
            problems.add(f"{key}: {path} is made by no row of {section}; rows: {rows}")
        elif section is None and not (root / path).exists():
            _absent(problems, params, key, row.weights)
        elif section is None and (root / path).is_dir() and row.weights != params.backbone.path:
            for problem in backbone_problems(root / path, params.samples.inference_steps):
                problems.add(f"{key}: {problem}")
        elif section is None and (root / path).is_file() and path.suffix != ".safetensors":
            problems.add(f"{key}: {path}: expected an adapter's .safetensors or a folder")


def _experts(
    root: Path, params: Params, problems: _Problems, key: str, row: CompositeParams | SwitchParams
) -> None:
    """Each expert of a folder is there, or a row makes it."""
    folder = Path(row.weights)
    section = MADE.get(folder.as_posix())
    for expert in sorted(set(row.experts)):
        path = folder / f"{expert}.safetensors"
        if section is not None and expert not in getattr(params, section):
            rows = ", ".join(getattr(params, section)) or "none"
            problems.add(f"{key}: {path} is made by no row of {section}; rows: {rows}")
        elif section is None and not (root / path).is_file():
            _absent(problems, params, key, str(path))


def _judges(root: Path, params: Params, problems: _Problems) -> None:
    from selma.judges.loading import JUDGES, WITHOUT_WEIGHTS
    from selma.judges.normalise import NORMALISERS
    from selma.judges.templates import TEMPLATES

    for name, row in params.judges.items():
        key = f"judges.{name}"
        known = problems.attempt(lambda k=row.kind: choose("judge", k, JUDGES), f"{key}.kind")
        problems.attempt(lambda n=row.normalise: choose("answer normaliser", n, NORMALISERS),
                         f"{key}.normalise")  # fmt: skip
        if known is None:
            continue
        if (row.model is None) == (row.kind == "endpoint"):
            expected = "the model's name" if row.kind == "endpoint" else "null"
            problems.add(f"{key}.model: expected {expected}, got {row.model!r}")
        elif row.kind == "endpoint":
            problems.attempt(_endpoint(row.model or "", row.model_dump()), key)
        if not (root / row.path).exists():
            _absent(problems, params, f"{key}.path", row.path)
        elif row.kind not in WITHOUT_WEIGHTS:
            for problem in _model_folder(root / row.path, row.kind):
                problems.add(f"{key}.path: {problem}")
            _precision(problems, f"{key}.dtype", root / row.path, row.dtype)
    for name, answers in params.answers.items():
        problems.attempt(lambda t=answers.template: choose("judge template", t, TEMPLATES),
                         f"answers.{name}.template")  # fmt: skip
    for name in params.benchmarks:
        path = root / "data/benchmarks" / f"{name}.parquet"
        if not path.is_file():
            problems.add(f"benchmarks.{name}: {path}: no such file; `selma import` or `dvc pull`")


def _precision(problems: _Problems, key: str, folder: Path, dtype: str) -> None:
    """A judge's language model can work in its precision; a config that cannot be read is told."""
    from selma.judges.weights import check_precision

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        language = config["text_config"]["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    problems.attempt(lambda: check_precision(folder, language, dtype), key)


def _endpoint(model: str, values: dict[str, Any]) -> Callable[[], Any]:
    from selma.judges.loading import judge_settings, load_judge

    given = {**values, "path": model}
    return lambda: load_judge("endpoint", judge_settings("endpoint", given, template="bare"))


def _measures(root: Path, params: Params, problems: _Problems) -> None:
    for name, row in params.measures.items():
        key = f"measures.{name}"
        check_measure(problems, key, row)
        if not (root / row.path).exists():
            _absent(problems, params, f"{key}.path", row.path)


def _preferences(root: Path, params: Params, problems: _Problems) -> None:
    from selma.measuring.preferring import check_version
    from selma.scorers.hps import HPS_VERSIONS, POCKET_VERSION
    from selma.scorers.preference import SCORERS, read_origin

    known = (*HPS_VERSIONS, POCKET_VERSION)
    for name, row in params.preferences.items():
        key, folder = f"preferences.{name}", root / row.path
        if problems.attempt(lambda k=row.kind: choose("scorer", k, SCORERS), f"{key}.kind") is None:
            continue
        problems.attempt(lambda r=row: check_version(r.kind, r.version, r.antialias), key)
        if not folder.is_dir():
            _absent(problems, params, f"{key}.path", row.path)
            continue
        origin = problems.attempt(lambda f=folder, k=row.kind: read_origin(f, k), f"{key}.path")
        held = POCKET_VERSION if origin is None else origin.version
        if row.kind == "hps" and row.version in known and row.version != held:
            problems.add(f"{key}.version: {folder} holds HPS {held}, expected {row.version!r}")
        for problem in _model_folder(folder, row.kind):
            problems.add(f"{key}.path: {problem}")


def _model_folder(folder: Path, kind: str) -> Iterator[str]:
    """What a folder lacks that shall hold one model of a kind."""
    if kind == "mplug":
        yield from (
            f"{folder}/{name}: no such file" for name in MPLUG if not (folder / name).is_file()
        )
        return
    if not any(folder.glob("*.safetensors")):
        yield f"{folder}: holds no .safetensors; other formats are never loaded"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield f"{folder}/config.json: is missing or not JSON, so this is no model's folder"
        return
    found = config.get("model_type", "imagereward" if "reward_mean" in config else None)
    if found != MODEL_TYPES.get(kind, found):
        yield f"{folder}: is a model of type {found!r}; {kind!r} needs {MODEL_TYPES[kind]!r}"


def _sources(root: Path, params: Params, problems: _Problems) -> None:
    """What draws, rates or holds pairs is there; the code that does is not looked for."""
    for section, without_files in (("sources", ("self", "pocket")), ("raters", ("dsg", "tifa"))):
        for name, row in getattr(params, section).items():
            if row.kind not in without_files and not (root / row.path).exists():
                _absent(problems, params, f"{section}.{name}.path", row.path)


def _absent(problems: _Problems, params: Params, key: str, path: str) -> None:
    """Tell that a path is not there, unless a row of `hub` brings it."""
    parts = Path(path).parts
    if parts[:2] != ("models", "hub") or not set(parts[2:3]) & set(params.hub):
        problems.add(f"{key}: {path}: no such file or folder; run `dvc pull`, or put it there")


CHECKS = (
    _hub, _prompts, _backbone, check_corrections, _merges, check_searches, _routers, _models,
    _judges, _measures, _preferences, _sources,
)  # fmt: skip
