"""params.yaml, read as DVC reads it and checked whole: no defaults, no unknown keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from selma.core.errors import ConfigError, MissingDataError

PARAMS_PATH = Path("params.yaml")
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A section of params.yaml: every key must be there, and no other."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PromptsParams(Section):
    """How the LLM writes prompts."""

    backend: Literal["pocket", "openai"]
    model: str
    revision: str
    per_skill: Positive
    per_request: Positive
    examples_per_request: Positive
    rouge_l_max: Share
    max_requests: Positive
    temperature: Annotated[float, Field(ge=0, le=2)]


class BackboneParams(Section):
    """The text-to-image model that is taught."""

    path: str
    revision: str | None
    dtype: Literal["float32", "bfloat16", "float16"]


class ImagesParams(Section):
    """How the model draws its own training pictures."""

    per_prompt: Positive
    guidance_scale: Annotated[float, Field(ge=1)]
    inference_steps: Positive
    batch_size: Positive


class LoraParams(Section):
    """How one expert is trained."""

    rank: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    train_steps: Positive
    batch_size: Positive
    max_gradient_norm: Annotated[float, Field(gt=0)]
    checkpoint_every_steps: Positive


class MergeParams(Section):
    """How the experts become one adapter."""

    method: str
    scale: float
    weights: dict[Slug, Annotated[float, Field(ge=0)]]


class AnswersParams(Section):
    """Which judge answers the questions, and how it is asked; see `JudgeSettings`."""

    judge: str
    path: str | None
    revision: str | None
    dtype: Literal["float32", "bfloat16", "float16"]
    dsg_template: str
    tifa_template: str
    normalise: str
    batch_size: Positive
    questions_per_batch: Positive
    max_new_tokens: Positive
    beams: Positive


class DsgParams(Section):
    """How answers become a DSG score."""

    policy: str
    mean: Literal["prompt", "question"]


class TifaParams(Section):
    """How answers become a TIFA score."""

    mapping: Literal["exact", "sbert"]
    sbert_path: str | None


class ClipScorerParams(Section):
    """A CLIP preference model."""

    path: str
    batch_size: Positive


class HpsParams(ClipScorerParams):
    """HPS: its versions are different models and are not comparable.

    `antialias` is of the tensor's resize, which torchvision changed in 0.17; null: what the
    model's folder says.
    """

    version: str
    antialias: bool | None


class CompareParams(Section):
    """The bootstrap over prompts."""

    resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]


class ReportParams(Section):
    """What the report shows."""

    examples: Positive


def _overrides(section: type[Section]) -> type[Section]:
    """Make the model of a part of a section: the same keys and checks, none required."""
    fields: dict[str, Any] = {
        name: (Annotated[field.annotation, Field(), *field.metadata] | None, None)
        for name, field in section.model_fields.items()
    }
    return create_model(f"{section.__name__}Overrides", __base__=Section, **fields)


PromptsOverrides = _overrides(PromptsParams)
LoraOverrides = _overrides(LoraParams)


class SkillParams(Section):
    """What one skill does differently from the sections `prompts` and `lora`."""

    prompts: PromptsOverrides  # type: ignore[valid-type]
    lora: LoraOverrides  # type: ignore[valid-type]


class Params(Section):
    """The whole of params.yaml."""

    seed: NonNegative
    threads: Positive
    skills: Annotated[dict[Slug, SkillParams], Field(min_length=1)]
    prompts: PromptsParams
    backbone: BackboneParams
    images: ImagesParams
    lora: LoraParams
    mixture: LoraOverrides  # type: ignore[valid-type]
    merge: MergeParams
    samples: ImagesParams
    answers: AnswersParams
    dsg: DsgParams
    tifa: TifaParams
    pickscore: ClipScorerParams
    imagereward: ClipScorerParams
    hps: HpsParams
    compare: CompareParams
    report: ReportParams


S = TypeVar("S", bound=Section)


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file with the parser that DVC uses.

    Raises:
        MissingDataError: there is no such file.
        ConfigError: it is not YAML; the message names the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such file") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not a text file ({error})") from error
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML: {reason}") from error


def load_params(path: Path = PARAMS_PATH) -> Params:
    """Read and check a whole params file.

    Raises:
        ConfigError: lists every problem with its key, the value seen and what is allowed.
        MissingDataError: there is no such file.
    """
    params = validate(Params, read_yaml(path), str(path))
    unknown = sorted(set(params.merge.weights) ^ set(params.skills))
    if unknown:
        raise ConfigError(
            f"{path}: merge.weights and skills must name the same skills; "
            f"only in one of them: {', '.join(unknown)} (weight 0 leaves an expert out)"
        )
    return params


def load_section(name: str, model: type[S], path: Path = PARAMS_PATH) -> S:
    """Read and check one section; other sections may change without this one noticing.

    Raises:
        ConfigError: lists every problem of the section.
    """
    return validate(model, _section(name, path), f"{path}: {name}", prefix=name)


def load_value(name: str, path: Path = PARAMS_PATH) -> int:
    """Read one of the whole numbers at the top of the file: `seed` or `threads`."""
    value = _section(name, path)
    least = 1 if name == "threads" else 0
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            f"{path}: {name} must be a whole number of at least {least}, got {value!r}"
        )
    return value


def load_skill_section(name: str, model: type[S], skill: str, path: Path = PARAMS_PATH) -> S:
    """Read a section with one skill's overrides (``skills.<skill>.<name>``) laid over it.

    Raises:
        ConfigError: the skill is unknown, or the section or the overrides are wrong.
    """
    section = _section(name, path)
    skills = _section("skills", path)
    if not isinstance(skills, Mapping) or skill not in skills:
        known = ", ".join(skills) if isinstance(skills, Mapping) else "none"
        raise ConfigError(f"{path}: unknown skill {skill!r}; skills are: {known}")
    validate(SkillParams, skills[skill], f"{path}: skills.{skill}", prefix=f"skills.{skill}")
    return validate(model, {**section, **skills[skill][name]}, f"{path}: {name}", prefix=name)


def load_mixture(skills: int, path: Path = PARAMS_PATH) -> LoraParams:
    """Read how the mixture is trained: as an expert, for the sum of all experts' steps."""
    overrides = _section("mixture", path)
    validate(LoraOverrides, overrides, f"{path}: mixture", prefix="mixture")
    section = dict(_section("lora", path))
    lora = validate(LoraParams, section, f"{path}: lora", prefix="lora")
    section["train_steps"] = lora.train_steps * skills
    return validate(LoraParams, {**section, **overrides}, f"{path}: mixture", prefix="mixture")


def _section(name: str, path: Path) -> Any:
    whole = read_yaml(path)
    if not isinstance(whole, Mapping):
        raise ConfigError(f"{path}: must be a mapping of sections, got {type(whole).__name__}")
    if name not in whole:
        raise ConfigError(f"{path}: the section {name} is missing; `selma preset pocket` shows all")
    return whole[name]


M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], value: object, where: str, prefix: str = "") -> M:
    """Check a value against a model and tell all problems in one line."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(_problem(detail, prefix) for detail in error.errors())
        raise ConfigError(f"{where.split(':')[0]}: {problems}") from error


def _problem(detail: Any, prefix: str) -> str:
    key = ".".join([*([prefix] if prefix else []), *(str(part) for part in detail["loc"])])
    key = key or "the file"
    if detail["type"] == "extra_forbidden":
        return f"{key} is not a known key (value {detail['input']!r}); remove or correct it"
    if detail["type"] == "missing":
        return f"{key} is missing"
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return f"{key}: {message}, got {detail['input']!r}"
