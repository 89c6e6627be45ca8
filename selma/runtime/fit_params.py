"""The rows of `fits`: merges whose weights come from text or pictures, not from params."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from selma.runtime.sections import GateOverrides, Name, Section, Skills


class RegmeanParams(Section):
    """RegMean of the layers that read the text; `off_diagonals` 1 keeps the Gram matrices whole."""

    kind: Literal["regmean"]
    weights: Annotated[dict[Name, Annotated[float, Field(ge=0, le=1e9)]], Field(min_length=1)]
    scale: Annotated[float, Field(ge=-1000, le=1000)]
    off_diagonals: Annotated[float, Field(ge=0, le=1)]
    rank: Annotated[int, Field(ge=1, le=4096)] | None

    @field_validator("scale")
    @classmethod
    def _not_zero(cls, scale: float) -> float:
        if scale == 0:
            raise ValueError("nothing is left to merge; 1 gives the mean")
        return scale

    @property
    def experts(self) -> list[str]:
        """The skills that take part."""
        return sorted(skill for skill, weight in self.weights.items() if weight)


class CatParams(Section):
    """A learned scalar for each layer and expert; trained as `lora` says, but for its own keys."""

    kind: Literal["cat"]
    skills: Skills
    lora: GateOverrides  # type: ignore[valid-type]

    @property
    def experts(self) -> list[str]:
        """The skills that take part."""
        return sorted(self.skills)


FitParams: Any = Annotated[RegmeanParams | CatParams, Field(discriminator="kind")]
