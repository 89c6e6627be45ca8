"""The rows of `searches`: merges whose settings are those that do best on a dev split."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from selma.runtime.sections import Dtype, ImagesOverrides, Name, Place, Section, Share, Skills

_STEPS_MAX = 1_000_000


class RangeParams(Section):
    """Values to choose from: low, low + step, … high."""

    low: Annotated[float, Field(ge=-1000, le=1000)]
    high: Annotated[float, Field(ge=-1000, le=1000)]
    step: Annotated[float, Field(gt=0, le=1000)]

    @model_validator(mode="after")
    def _steps(self) -> "RangeParams":
        steps = (self.high - self.low) / self.step
        if not 0.5 < steps < _STEPS_MAX or abs(steps - round(steps)) > 1e-6:
            raise ValueError("high must be a whole number of steps above low, and one at least")
        return self

    def nearest(self, value: float) -> float:
        """The value of the range that is nearest to another."""
        steps = round((min(max(value, self.low), self.high) - self.low) / self.step)
        return round(self.low + steps * self.step, 9)


class WeightRangeParams(RangeParams):
    """As `RangeParams`; above 0, for a merge of nothing is none."""

    low: Annotated[float, Field(gt=0, le=1000)]


class DevDsgParams(Section):
    """DSG as in `measures`."""

    kind: Literal["dsg"]
    path: Place
    policy: str
    mean: str
    no_answer_max: Share


class DevTifaParams(Section):
    """TIFA as in `measures`."""

    kind: Literal["tifa"]
    path: Place
    mapping: str
    no_answer_max: Share


class SearchParams(Section):
    """A merge of `skills` by `method`, with the weights that score best on data/dev/`benchmark`.

    A scale or parameter of the method is one value, or a range that is searched too.
    """

    method: str
    skills: Skills
    weights: WeightRangeParams
    scale: Annotated[float, Field(ge=-1000, le=1000)] | RangeParams
    rank: Annotated[int, Field(ge=1, le=100_000)] | None
    error_max: Annotated[float, Field(gt=0, lt=1)] | None
    match_norm: bool
    parameters: dict[str, Annotated[RangeParams | Any, Field(union_mode="left_to_right")]]
    dtype: Dtype
    benchmark: Name
    judge: Name
    template: str
    measure: Annotated[DevDsgParams | DevTifaParams, Field(discriminator="kind")]
    samples: ImagesOverrides  # type: ignore[valid-type]
    sampler: str
    evaluations: Annotated[int, Field(ge=1, le=100_000)]

    def searched(self) -> dict[str, RangeParams]:
        """What is searched, by name: ``weights.SKILL``, ``scale``, ``parameters.NAME``."""
        found: dict[str, Any] = {f"weights.{skill}": self.weights for skill in self.skills}
        found |= {"scale": self.scale}
        found |= {f"parameters.{name}": value for name, value in self.parameters.items()}
        return {name: one for name, one in sorted(found.items()) if isinstance(one, RangeParams)}

    def plain(self) -> dict[str, float]:
        """The settings to begin with: equal weights, the scale nearest to 1, parameters midway."""
        aims = {name: (one.low + one.high) / 2 for name, one in self.searched().items()}
        aims |= {f"weights.{skill}": self.weights.high for skill in self.skills}
        aims |= {"scale": 1.0}
        return {name: one.nearest(aims[name]) for name, one in self.searched().items()}

    def merge(self, settings: Mapping[str, float]) -> dict[str, Any]:
        """The merge that settings stand for, as a row of `merges` says it."""
        given = {
            name: settings[f"parameters.{name}"] if isinstance(value, RangeParams) else value
            for name, value in self.parameters.items()
        }
        kept = ("method", "rank", "error_max", "match_norm", "dtype")
        return {
            **{name: getattr(self, name) for name in kept},
            "parameters": given,
            "weights": {skill: settings[f"weights.{skill}"] for skill in self.skills},
            "scale": settings.get("scale", self.scale),
        }
