"""The whole of params.yaml: its sections, and which of them have rows that a stage writes down."""

from typing import Annotated, Any

from pydantic import Field

from selma.runtime.correct_params import CorrectParams
from selma.runtime.distil_params import DistillationParams
from selma.runtime.fit_params import FitParams
from selma.runtime.model_params import ModelParams
from selma.runtime.objective_params import ObjectiveParams
from selma.runtime.rater_params import RaterParams
from selma.runtime.search_params import SearchParams
from selma.runtime.sections import (
    AnswersParams,
    BackboneParams,
    BenchmarkParams,
    CompareParams,
    HubParams,
    JudgeParams,
    LlmParams,
    LoraParams,
    MeasureParams,
    MergeParams,
    MixtureParams,
    Name,
    PreferenceParams,
    PromptsParams,
    ReportParams,
    RouterParams,
    SamplesParams,
    Section,
    Seed,
    SkillParams,
    Threads,
    TrainingImagesParams,
)
from selma.runtime.source_params import SourceParams


class Params(Section):
    seed: Seed
    threads: Threads
    same_bytes: bool
    hub: dict[Name, HubParams]
    routers: dict[Name, RouterParams]
    backbone: BackboneParams
    llm: LlmParams
    prompts: PromptsParams
    images: TrainingImagesParams
    sources: Annotated[dict[Name, SourceParams], Field(min_length=1)]
    correct: CorrectParams
    lora: LoraParams
    objectives: Annotated[dict[Name, ObjectiveParams], Field(min_length=1)]
    skills: Annotated[dict[Name, SkillParams], Field(min_length=1)]
    merges: dict[Name, MergeParams]
    mixtures: dict[Name, MixtureParams]
    fits: dict[Name, FitParams]
    distillations: dict[Name, DistillationParams]
    searches: dict[Name, SearchParams]
    models: Annotated[dict[Name, ModelParams], Field(min_length=1)]
    samples: SamplesParams
    benchmarks: dict[Name, BenchmarkParams]
    judges: dict[Name, JudgeParams]
    raters: Annotated[dict[Name, RaterParams], Field(min_length=1)]
    answers: dict[Name, AnswersParams]
    measures: dict[Name, MeasureParams]
    preferences: dict[Name, PreferenceParams]
    compare: CompareParams
    report: ReportParams


ROWS: dict[str, Any] = {
    "answers": AnswersParams, "distillations": DistillationParams, "fits": FitParams,
    "judges": JudgeParams,
    "mixtures": MixtureParams, "models": ModelParams, "preferences": PreferenceParams,
    "routers": RouterParams,
}  # fmt: skip
