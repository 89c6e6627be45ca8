"""params.yaml, read as DVC reads it and checked whole: no defaults, no unknown keys.

What a run can have several of are *rows*, by name. A stage reads its own row or section alone, so
that a change elsewhere neither stops nor re-runs it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from selma.core.errors import ConfigError
from selma.runtime.objective_params import OF_PICTURES, ObjectiveParams
from selma.runtime.row_names import unknown_names
from selma.runtime.sections import LoraParams, MixtureParams, RouterParams, SkillParams
from selma.runtime.whole import Params
from selma.runtime.yaml_files import read_yaml, validate

PARAMS_PATH = Path("params.yaml")


def load_params(path: Path = PARAMS_PATH) -> Params:
    """Read and check a whole params file, also that every name in it stands for a row.

    Raises:
        ConfigError: lists every problem with its key, the value seen and what is allowed.
        MissingDataError: there is no such file.
    """
    params = validate(Params, read_yaml(path), str(path))
    if unknown := "; ".join(unknown_names(params)):
        raise ConfigError(f"{path}: {unknown}")
    return params


S = TypeVar("S")
Kind = type[S]


def load_section(name: str, model: Kind[S], path: Path = PARAMS_PATH) -> S:
    """Read and check one section, or one of the values at the top of the file; else ConfigError."""
    return validate(model, _section(name, path), str(path), name)


def load_rows(name: str, model: Kind[S], path: Path = PARAMS_PATH) -> dict[str, S]:
    """Read and check all rows of a section, in their order; raises as `load_section`."""
    return validate(dict[str, model], _section(name, path), str(path), name)  # type: ignore[valid-type]


def load_row(section: str, name: str, model: Kind[S], path: Path = PARAMS_PATH) -> S:
    """Read and check one row; ConfigError if there is no such row, or it is wrong."""
    rows = _section(section, path)
    if not isinstance(rows, Mapping) or name not in rows:
        known = ", ".join(rows) if isinstance(rows, Mapping) else ""
        raise ConfigError(f"{path}: {section} has no row {name!r}; there are: {known or 'none'}")
    return validate(model, rows[name], str(path), f"{section}.{name}")


def load_skill_section(name: str, model: Kind[S], skill: str, path: Path = PARAMS_PATH) -> S:
    """Read a section with one skill's overrides laid over it; ConfigError if anything is wrong."""
    row = load_row("skills", skill, SkillParams, path)
    return laid_over(name, model, getattr(row, name), path)


def load_objective(path: Path = PARAMS_PATH) -> Any:
    """Read the row of `objectives` that `lora.objective` names; ConfigError if it is wrong."""
    name = load_section("lora", LoraParams, path).objective
    return load_row("objectives", name, ObjectiveParams, path)


def load_expert(skill: str, path: Path = PARAMS_PATH) -> LoraParams:
    """Read how an expert is trained: the section, under the objective's, under the skill's own.

    Raises:
        ConfigError: the row, the objective or the section `lora` is wrong.
    """
    row = load_row("skills", skill, SkillParams, path)
    return _trained({**_objectives_own(path), **_given(row.lora)}, path)


def load_mixture(name: str, path: Path = PARAMS_PATH) -> LoraParams:
    """Read how a mixture is trained: as an expert, for its experts' steps together.

    Raises:
        ConfigError: the row, the objective or the section `lora` is wrong.
    """
    row, own = load_row("mixtures", name, MixtureParams, path), _objectives_own(path)
    steps = laid_over("lora", LoraParams, own, path).train_steps * len(row.skills)
    return _trained({**own, "train_steps": steps, **_given(row.lora)}, path)


def _trained(overrides: Mapping[str, Any], path: Path) -> LoraParams:
    lora = laid_over("lora", LoraParams, overrides, path)
    kind = load_objective(path).kind
    if kind == "ddpo" and (idle := [name for name in sorted(OF_PICTURES) if getattr(lora, name)]):
        raise ConfigError(
            f"{path}: lora.{', lora.'.join(idle)}: of no use to the objective {lora.objective}, "
            "which is trained on no pictures; set null, flip false"
        )
    return lora


def _objectives_own(path: Path) -> dict[str, Any]:
    return _given(getattr(load_objective(path), "lora", None))


def _given(overrides: Any) -> dict[str, Any]:
    return {} if overrides is None else dict(overrides.model_dump(exclude_unset=True))


def load_router(name: str, path: Path = PARAMS_PATH) -> LoraParams:
    """Read how a router's gates are trained: as an expert, but rank and targets mean nothing.

    Raises:
        ConfigError: the row or the section `lora` is wrong.
    """
    row = load_row("routers", name, RouterParams, path)
    return laid_over("lora", LoraParams, row.lora, path)


def laid_over(name: str, model: Kind[S], overrides: Any, path: Path = PARAMS_PATH) -> S:
    """Read a section with a row's own values laid over it; ConfigError if anything is wrong."""
    if isinstance(overrides, BaseModel):
        overrides = overrides.model_dump(exclude_unset=True)
    section = _section(name, path)
    whole = {**section, **overrides} if isinstance(section, Mapping) else section
    return validate(model, whole, str(path), name)


def _section(name: str, path: Path) -> Any:
    whole = read_yaml(path)
    if not isinstance(whole, Mapping):
        raise ConfigError(f"{path}: must be a mapping of sections, got {type(whole).__name__}")
    if name not in whole:
        raise ConfigError(f"{path}: the section {name} is missing; a file of presets/ has all")
    return whole[name]
