"""The rows of `distillations`: adapters that learn from experts on trajectories of their own."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from selma.runtime.sections import LoraParams, Name, Place, Section, Skills, overrides

Guidance = Annotated[float, Field(ge=1, le=100)]
Steps = Annotated[int, Field(ge=1, le=1000)]
DISTILLED = {  # what the section lora says of a distillation too; the rest is the adapter's
    "learning_rate", "weight_decay", "train_steps", "batch_size", "micro_batch_size",
    "max_gradient_norm", "average_decay", "checkpoint_every_steps",
}  # fmt: skip
DistilOverrides = overrides(LoraParams, without=set(LoraParams.model_fields) - DISTILLED)


class TrajectoryParams(Section):
    """How the student draws while it learns, and at how many `points` of a drawing it does."""

    guidance_scale: Guidance
    inference_steps: Steps
    points: Steps

    @model_validator(mode="after")
    def _no_more_points_than_steps(self) -> "TrajectoryParams":
        if self.points > self.inference_steps:
            raise ValueError(
                f"points are {self.points}, more than the {self.inference_steps} inference_steps"
            )
        return self


class _DistillationParams(Section):
    """`student` is the adapter's file where it starts, `guidance_scale` the teacher's.

    `lora` overrides the section.
    """

    student: Place
    guidance_scale: Guidance
    match: Literal["guided", "conditional"]
    trajectory: TrajectoryParams
    lora: DistilOverrides  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _teacher_is_not_weaker(self) -> "_DistillationParams":
        if self.guidance_scale < self.trajectory.guidance_scale:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale:g}, below the student's own, "
                f"{self.trajectory.guidance_scale:g}; the teacher's may be the same or more"
            )
        return self


class CompositeTeacherParams(_DistillationParams):
    """All experts teach together, by their weights."""

    kind: Literal["composite"]
    weights: Annotated[dict[Name, Annotated[float, Field(gt=0, le=1e9)]], Field(min_length=1)]

    @property
    def experts(self) -> list[str]:
        """The skills that take part."""
        return sorted(self.weights)


class SkillTeacherParams(_DistillationParams):
    """Each prompt is taught by its own skill's expert."""

    kind: Literal["skill"]
    skills: Skills

    @property
    def experts(self) -> list[str]:
        """The skills that take part."""
        return sorted(self.skills)

    @property
    def weights(self) -> dict[str, float]:
        """What each expert counts for its own prompts."""
        return dict.fromkeys(self.experts, 1.0)


DistillationParams: Any = Annotated[
    CompositeTeacherParams | SkillTeacherParams, Field(discriminator="kind")
]
