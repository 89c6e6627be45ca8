"""What a model card tells of a merge: from its certificate, or from the file's own provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from selma.core.errors import ConfigError, RecordError
from selma.core.files import read_json
from selma.runtime.yaml_files import validate

BLOCKS_SHOWN = 3  # of an expert's own weights; of more their range is told


class Certificate(BaseModel):
    """What a card shows of a certificate, see `merge_files`."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    sha256: str
    settings: dict[str, Any]
    formula: str
    relative_error: float
    rank: int
    merged_norm: float
    cosine_to_mean: float
    inputs: dict[str, str]
    norm: dict[str, float]
    cosine: dict[str, dict[str, float]]

    @model_validator(mode="after")
    def _same_experts(self) -> "Certificate":
        named = [set(self.norm), set(self.cosine), *(set(own) for own in self.cosine.values())]
        if any(names != set(self.inputs) for names in named):
            raise ValueError("inputs, norm and cosine must be of the same experts")
        return self


def read_certificate(path: Path) -> Certificate:
    """Read a certificate; RecordError, in a line, if it is none."""
    try:
        return validate(Certificate, read_json(path), str(path))
    except ConfigError as error:
        raise RecordError(f"{error}; this is no certificate: make the merge again") from error


@dataclass(frozen=True)
class Origin:
    """An expert that was merged; its weight in words, "" if the file does not say it."""

    name: str
    weight: str
    sha256: str


def origins(made: Mapping[str, Any]) -> list[Origin]:
    """List what a merge was made of, from its file's provenance; empty for what is no merge."""
    experts = made.get("experts")
    if not isinstance(experts, Mapping):
        return []
    settings = made.get("merge") or made.get("fit")
    weights = settings.get("weights") if isinstance(settings, Mapping) else None
    given = weights if isinstance(weights, Mapping) else {}
    return [
        Origin(name, weight_in_words(given.get(name)), str(one.get("sha256", "")))
        for name, one in sorted(experts.items())
    ]


def weight_in_words(given: Any) -> str:
    """Write a merge weight: a number, or {all: weight, BLOCK: weight …}; "" if there is none."""
    if not isinstance(given, Mapping):
        return "" if given is None else str(given)
    own = {block: weight for block, weight in sorted(given.items()) if block != "all"}
    rest = str(given.get("all", ""))
    if not own:
        return rest
    elsewhere = f", {rest} elsewhere" if rest else ""
    if len(own) > BLOCKS_SHOWN:
        low, high = min(own.values()), max(own.values())
        return f"{low:.3g} to {high:.3g} in {len(own)} blocks{elsewhere}"
    told = ", ".join(f"{weight} in `{block}`" for block, weight in own.items())
    return told + elsewhere


def how_made(made: Mapping[str, Any]) -> str:
    """Say how an adapter came to be, as far as its file says it."""
    if found := origins(made):
        return f"{len(found)} experts, merged"
    return "one training" if made else "its file does not say how it was made"


def is_taught(made: Mapping[str, Any]) -> bool:
    """Whether all the trainings that an adapter comes from are recorded, so were selma's."""
    experts = made.get("experts")
    if isinstance(experts, Mapping):
        return all(isinstance(one, Mapping) and is_taught(one) for one in experts.values())
    return "lora" in made
