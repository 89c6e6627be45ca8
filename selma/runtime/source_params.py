"""The rows of `sources`: where training pictures come from; `images.source` names one."""

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field

from selma.runtime.sections import Count, Dtype, Name, Place, Section


class BestOfParams(Section):
    """Keep one of `candidates` pictures of a prompt: DreamSync's filter, arXiv 2311.17946.

    A picture must be rated at least the threshold of each rater in `thresholds`; of those the one
    that the first rater of `rank_by` rates highest is kept, of equals by the next.
    """

    candidates: Annotated[int, Field(ge=1, le=10_000)]
    thresholds: dict[Name, Annotated[float, Field(ge=-1e9, le=1e9)]]
    rank_by: Annotated[list[Name], Field(min_length=1)]

    @property
    def raters(self) -> Collection[str]:
        """All that are needed, sorted."""
        return sorted({*self.thresholds, *self.rank_by})


class _DrawnParams(Section):
    path: Place
    best_of: BestOfParams | None


class SelfParams(_DrawnParams):
    """The model that is taught draws its own pictures; `path` is the code that draws."""

    kind: Literal["self"]


class AdapterParams(_DrawnParams):
    """The model that is taught draws with the LoRA file `path` on it, as it was taught before."""

    kind: Literal["adapter"]


class OtherBackboneParams(_DrawnParams):
    """Another model draws, of the folder `path`: from weak to strong."""

    kind: Literal["backbone"]
    dtype: Dtype


Pictures = Literal["truth", "drawn"]  # the pairs' own, or the model's for their captions


class PairsParams(Section):
    """A user's pairs: of a skill the folder `path`/SKILL, or `path`/SKILL.parquet."""

    kind: Literal["folder", "parquet"]
    path: Place
    pictures: Pictures
    size_px: Annotated[int, Field(ge=8, le=8192)] | None


class PocketTruthParams(Section):
    """The pocket world's captions and rendered scenes; `path` is the code that makes them."""

    kind: Literal["pocket"]
    path: Place
    pictures: Pictures
    per_skill: Count


SourceParams: Any = Annotated[
    SelfParams | AdapterParams | OtherBackboneParams | PairsParams | PocketTruthParams,
    Field(discriminator="kind"),
]
