"""The sections and rows of params.yaml: which keys they have, and what a value may be."""

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
REPOSITORY = r"^[\w.-]+/[\w.-]+$"  # on the Hub
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Batch = Annotated[int, Field(ge=1, le=100_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Usd = Annotated[float, Field(ge=0)]
Place = Annotated[str, Field(min_length=1)]
Dtype = Literal["float32", "bfloat16", "float16"]
Weight = Annotated[float, Field(ge=-1e9, le=1e9)]
BlockWeights = Annotated[dict[str, Weight], Field(min_length=1)]
MergeWeight = Annotated[
    Annotated[Weight, Tag("number")] | Annotated[BlockWeights, Tag("blocks")],
    Discriminator(lambda value: "blocks" if isinstance(value, dict) else "number"),
]


def _named_once(names: list[str]) -> list[str]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"names {', '.join(twice)} twice; name each once")
    return names


Skills = Annotated[list[Name], Field(min_length=1), AfterValidator(_named_once)]


class Section(BaseModel):
    """A section of params.yaml: every key must be there, and no other."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class LlmParams(Section):
    """Which LLM writes, and what it may cost; `selma.llm.generators.LlmOptions`."""

    backend: Literal["pocket", "openai", "replay"]
    model: Place
    revision: str
    base_url: Place | None
    interface: Literal["chat", "chat_max_tokens", "completions"]
    reply_format: Literal["list", "json_schema"]
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    reply_tokens_max: Count
    timeout_s: Annotated[float, Field(gt=0, le=86_400)]
    retries: Annotated[int, Field(ge=0, le=100)]
    concurrency: Annotated[int, Field(ge=1, le=256)]
    budget_usd: Usd | None
    price: Annotated[dict[Literal["input", "output"], Usd], Field(min_length=2)] | None


class PromptsParams(Section):
    """How many prompts are asked for, and which are kept."""

    per_skill: Count
    per_request: Annotated[int, Field(ge=1, le=1000)]
    requests_per_round: Annotated[int, Field(ge=1, le=1000)]
    examples_per_request: Annotated[int, Field(ge=1, le=100)]
    rouge_l_max: Annotated[float, Field(gt=0, le=1)]
    leak_word_edits_max: Annotated[int, Field(ge=0, le=100)]
    leak_words_per_edit: Annotated[int, Field(ge=0, le=100)]
    leak_rouge_l_max: Annotated[float, Field(gt=0, le=1)] | None
    max_requests: Count


class BackboneParams(Section):
    """The text-to-image model that is taught: a folder in diffusers' layout."""

    path: Place
    dtype: Dtype


class ImagesParams(Section):
    per_prompt: Annotated[int, Field(ge=1, le=10_000)]
    guidance_scale: Annotated[float, Field(ge=1, le=100)]
    inference_steps: Annotated[int, Field(ge=1, le=1000)]
    batch_size: Batch


class SamplesParams(ImagesParams):
    """Pictures of a benchmark's prompts: the numbers `first`, `first` + 1, …, each of its noise."""

    first: Annotated[int, Field(ge=0, le=1_000_000)]


class TrainingImagesParams(ImagesParams):
    """The pictures that are trained on: a row of `sources`, and how they are drawn."""

    source: Name


class SelectParams(Section):
    """Keep the step with the least loss on a share of the prompts, held out."""

    dev: Annotated[float, Field(gt=0, lt=1)]
    every_steps: Count


class LoraParams(Section):
    """How an adapter is trained; null: the family's attention, all timesteps alike, the last."""

    objective: Name
    rank: Annotated[int, Field(ge=1, le=4096)]
    targets: Annotated[list[Place], Field(min_length=1)] | None
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    weight_decay: Annotated[float, Field(ge=0, le=1000)]
    train_steps: Count
    batch_size: Batch
    micro_batch_size: Batch
    max_gradient_norm: Annotated[float, Field(gt=0, le=1e9)]
    min_snr_gamma: Annotated[float, Field(gt=0, le=1e9)] | None
    average_decay: Annotated[float, Field(gt=0, lt=1)] | None
    flip: bool
    select: SelectParams | None
    checkpoint_every_steps: Count


def overrides(section: type[Section], without: Collection[str] = ()) -> type[Section]:
    """Make the model of a part of a section: the same keys and checks, none required."""
    fields: dict[str, Any] = {
        name: (Annotated[field.annotation, Field(), *field.metadata] | None, None)
        for name, field in section.model_fields.items()
        if name not in without
    }
    return create_model(f"{section.__name__}Overrides", __base__=Section, **fields)


PromptsOverrides = overrides(PromptsParams)
ImagesOverrides = overrides(ImagesParams)
LoraOverrides = overrides(LoraParams, without={"objective"})  # one for a whole run
NOT_A_ROUTERS = {"objective", "rank", "targets"}  # of the section lora: they are its experts'
GateOverrides = overrides(LoraParams, without=NOT_A_ROUTERS)


class SkillParams(Section):
    """A skill: its instructions' file, and what it does differently from the sections."""

    instructions: Place
    prompts: PromptsOverrides  # type: ignore[valid-type]
    images: ImagesOverrides  # type: ignore[valid-type]
    lora: LoraOverrides  # type: ignore[valid-type]


class MergeParams(Section):
    """How experts become one adapter; a skill without a weight takes no part.

    `parameters` are the method's own; `weights` are numbers, or {all: number, BLOCK: number …}.
    """

    method: str
    scale: Annotated[float, Field(ge=-1000, le=1000)]
    weights: Annotated[dict[Name, MergeWeight], Field(min_length=1)]
    rank: Annotated[int, Field(ge=1, le=100_000)] | None
    error_max: Annotated[float, Field(gt=0, lt=1)] | None
    match_norm: bool
    parameters: dict[str, Any]
    dtype: Dtype


class MixtureParams(Section):
    """One adapter on several skills' pictures, by default for all their experts' steps together."""

    skills: Annotated[list[Name], Field(min_length=1)]
    lora: LoraOverrides  # type: ignore[valid-type]


class RouterParams(Section):
    """Experts that stay apart, weighed token by token by gates on their skills' pictures.

    `top_k` experts a token; `lora` overrides the section for the gates' training.
    """

    skills: Annotated[list[Name], Field(min_length=1)]
    top_k: Positive
    lora: GateOverrides  # type: ignore[valid-type]


class BenchmarkParams(Section):
    """A benchmark: data/benchmarks/NAME.parquet."""


class JudgeParams(Section):
    """A model that answers questions about pictures; see `JudgeSettings`.

    `path` is its folder, or the code that answers if it has no weights of its own; `model` is an
    endpoint's, else null; `revision` stands for what has no weights.
    """

    kind: str
    path: Place
    model: str | None
    revision: str | None
    dtype: Dtype
    normalise: str
    batch_size: Batch
    questions_per_batch: Batch
    max_new_tokens: Annotated[int, Field(ge=1, le=10_000)]
    beams: Annotated[int, Field(ge=1, le=100)]


class AnswersParams(Section):
    """Who answers which benchmark's questions, put how."""

    judge: Name
    benchmark: Name
    template: str


class _MeasureParams(Section):
    title: str
    answers: Name
    path: Place
    no_answer_max: Share


class DsgParams(_MeasureParams):
    kind: Literal["dsg"]
    policy: str
    mean: str


class TifaParams(_MeasureParams):
    """Answers scored by TIFA; `path` is the sentence encoder's folder for the mapping sbert."""

    kind: Literal["tifa"]
    mapping: str


class PreferenceParams(Section):
    """A preference model's scores of a benchmark's pictures.

    `version` is HPS's, or CLIPScore's variant; null for the others. `antialias` is HPS's, of the
    tensor's resize; null: what the model's folder says.
    """

    kind: str
    title: str
    benchmark: Name
    path: Place
    version: str | None
    antialias: bool | None
    batch_size: Batch


class CompareParams(Section):
    """Who is compared with whom, what models were trained against, the bootstrap over prompts."""

    subject: Name
    reference: Name
    against: list[Name]
    trained_against: dict[Name, Annotated[list[Name], Field(min_length=1)]]
    resamples: Annotated[int, Field(ge=100, le=10_000_000)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]


class ReportParams(Section):
    """Which measure's pictures the report shows, and how many pairs."""

    measure: Name
    examples: Annotated[int, Field(ge=1, le=1000)]


MeasureParams: Any = Annotated[DsgParams | TifaParams, Field(discriminator="kind")]


class HubParams(Section):
    """A revision of a repository of the Hugging Face Hub → models/hub/NAME; null: still open."""

    repo: Annotated[str, Field(pattern=REPOSITORY)]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    files: Annotated[list[Place], Field(min_length=1)]
