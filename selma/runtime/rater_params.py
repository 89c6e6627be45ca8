"""The rows of `raters`: who says how well pictures fit their training prompts."""

from typing import Annotated, Any, Literal

from pydantic import Field

from selma.runtime.sections import Batch, Name, Place, Section, Share


class ScorerRaterParams(Section):
    """A preference scorer, as in `preferences` but of no benchmark."""

    kind: Literal["pickscore", "imagereward", "hps", "clipscore"]
    path: Place
    version: str | None
    antialias: bool | None
    batch_size: Batch


class _FaithfulnessParams(Section):
    judge: Name
    template: str
    path: Place
    temperature: Annotated[float, Field(ge=0, le=2)] | None  # of the LLM that writes the questions
    retries: Annotated[int, Field(ge=0, le=100)]  # of a request whose reply cannot be used
    no_answer_max: Share


class DsgRaterParams(_FaithfulnessParams):
    """DSG by a judge, on questions that the LLM writes for the prompt."""

    kind: Literal["dsg"]
    policy: str


class TifaRaterParams(_FaithfulnessParams):
    """TIFA by a judge, on questions that the LLM writes for the prompt."""

    kind: Literal["tifa"]
    mapping: str


RaterParams: Any = Annotated[
    ScorerRaterParams | DsgRaterParams | TifaRaterParams, Field(discriminator="kind")
]
