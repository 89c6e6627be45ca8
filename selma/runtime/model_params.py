"""The rows of `models`: who is compared, and how it draws."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from selma.runtime.sections import Name, Place, Positive, Section, Share

Size = Annotated[float, Field(gt=0, le=1e6)]
Rows = Annotated[int, Field(ge=2, le=1024)]


class PhrasesParams(Section):
    """Who finds noun phrases; `model` is the name of spaCy's pipeline, else null."""

    kind: Literal["pocket", "spacy"]
    model: Place | None


class SynGenParams(Section):
    """SynGen; `map_size` is the rows of the attention maps, `steps_share` the guided steps."""

    kind: Literal["syngen"]
    phrases: PhrasesParams
    map_size: Rows
    step_size: Size
    steps_share: Share


class RefinementParams(Section):
    """At which share of the steps latents are moved until each noun has so much attention."""

    at_share: Share
    attention: Share


class AttendAndExciteParams(Section):
    """Attend-and-Excite; `iterations_max` of each refinement."""

    kind: Literal["attend_and_excite"]
    phrases: PhrasesParams
    map_size: Rows
    step_size: Size
    steps_share: Share
    refinements: list[RefinementParams]
    iterations_max: Annotated[int, Field(ge=0, le=1000)]


class StructureDiffusionParams(Section):
    """StructureDiffusion has no numbers of its own."""

    kind: Literal["structure_diffusion"]
    phrases: PhrasesParams


SamplerParams: Any = Annotated[
    SynGenParams | AttendAndExciteParams | StructureDiffusionParams, Field(discriminator="kind")
]


class WeightsParams(Section):
    """A model that is compared: a file on the backbone, or the folder of a backbone itself.

    `sampler` is a training-free way of drawing; null, or not there: stock guidance.
    """

    weights: Place
    sampler: SamplerParams | None = Field(None, exclude_if=lambda sampler: sampler is None)


class CompositeParams(Section):
    """A model that is compared: experts of the folder `weights`, all of them in every step."""

    weights: Place
    experts: Annotated[list[Name], Field(min_length=1)]
    combine: Literal["composite"]


class SwitchParams(Section):
    """A model that is compared: experts of the folder `weights`, by turns, each some steps."""

    weights: Place
    experts: Annotated[list[Name], Field(min_length=1)]
    combine: Literal["switch"]
    every_steps: Positive


def _how_combined(row: Any) -> str:
    """Tell which kind of row of `models` it is, by what it says or lacks."""
    if not isinstance(row, Mapping):
        return str(getattr(row, "combine", "one"))
    if not {"experts", "combine", "every_steps"} & set(row):
        return "one"
    return str(row.get("combine"))


ModelParams: Any = Annotated[
    Annotated[WeightsParams, Tag("one")]
    | Annotated[CompositeParams, Tag("composite")]
    | Annotated[SwitchParams, Tag("switch")],
    Discriminator(
        _how_combined,
        custom_error_type="combine",
        custom_error_message="combine should be 'switch' or 'composite' where there are experts",
    ),
]
