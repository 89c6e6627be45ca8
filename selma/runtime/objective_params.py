"""The rows of `objectives`: what a training makes least; `lora.objective` names one."""

from typing import Annotated, Any, Literal

from pydantic import Field

from selma.runtime.sections import (
    Count,
    ImagesOverrides,
    ImagesParams,
    LoraOverrides,
    LoraParams,
    Name,
    Section,
    overrides,
)

DrawingOverrides = overrides(ImagesParams, without={"per_prompt", "batch_size"})
OF_PICTURES = {"min_snr_gamma", "flip", "select"}  # of the section lora: of no use to a reward
RewardedOverrides = overrides(LoraParams, without={"objective", *OF_PICTURES})


class RatedParams(Section):
    """Pictures to choose pairs from: drawn as `images` says over that section, and rated."""

    rater: Name
    images: ImagesOverrides  # type: ignore[valid-type]


class StopParams(Section):
    """End a training whose error on winners has grown by a share, over so many steps."""

    winner_growth: Annotated[float, Field(ge=0, le=1e6)]
    steps: Count


class DenoiseParams(Section):
    """The denoising loss on a skill's pictures."""

    kind: Literal["denoise"]
    pairs: None

    @property
    def raters(self) -> list[str]:
        """Whom it asks."""
        return []


class DpoParams(Section):
    """Diffusion-DPO on pairs of rated pictures; `lora` lies over the section of that name."""

    kind: Literal["dpo"]
    pairs: RatedParams
    min_gap: Annotated[float, Field(ge=0, le=1e9)]
    beta: Annotated[float, Field(gt=0, le=1e9)]
    stop: StopParams | None
    lora: LoraOverrides  # type: ignore[valid-type]

    @property
    def raters(self) -> list[str]:
        """Whom it asks."""
        return [self.pairs.rater]


class DdpoParams(Section):
    """DDPO: rewards of what the model draws; `images` and `lora` lie over those sections."""

    kind: Literal["ddpo"]
    pairs: None
    rater: Name
    per_prompt: Annotated[int, Field(ge=2, le=10_000)]
    updates_per_round: Annotated[int, Field(ge=1, le=10_000)]
    clip_range: Annotated[float, Field(gt=0, lt=1)]
    advantage_max: Annotated[float, Field(gt=0, le=1e9)]
    images: DrawingOverrides  # type: ignore[valid-type]
    lora: RewardedOverrides  # type: ignore[valid-type]

    @property
    def raters(self) -> list[str]:
        """Whom it asks."""
        return [self.rater]


ObjectiveParams: Any = Annotated[
    DenoiseParams | DpoParams | DdpoParams, Field(discriminator="kind")
]
