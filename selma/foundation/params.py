"""The sections of foundation/params.yaml: how the pocket world's own models are made."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from selma.core.devices import set_threads
from selma.runtime.params import load_section
from selma.runtime.sections import NonNegative, Positive, Section, Seed, Threads

FOUNDATION_PATH = Path("foundation/params.yaml")
Probability = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]


class TrainingParams(Section):
    """How long a model is trained, and how; all there is to say of the image autoencoder."""

    train_steps: Positive
    batch_size: Positive
    learning_rate: Rate
    checkpoint_every_steps: Positive


class BaseModelParams(TrainingParams):
    """How a base model is trained: on what, how noisy, how long."""

    channels: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    pictures: Positive
    wrong_captions: Probability
    partial_captions: Probability
    schedule_steps: Positive
    cooldown_steps: NonNegative
    average_decay: Probability
    grid_every_steps: Positive


class GroundingParams(TrainingParams):
    """How gated layers are trained: on what, how often without grounding, how long."""

    pictures: Positive
    wrong_captions: Probability
    partial_captions: Probability
    single_objects: Probability
    empty_captions: Probability
    ungrounded: Probability
    partly_grounded: Probability
    colourless_phrases: Probability
    timestep_power: Rate
    attention_weight: Rate
    average_decay: Probability
    held_out_pictures: Positive


class ScorerParams(TrainingParams):
    """How much a preference scorer is trained on, and how.

    A step of pre-training sees `batch_size` pairs of twins, one of training as many rankings.
    """

    twins: Positive
    rankings: Positive
    held_out_rankings: Positive
    pretrain_steps: Positive
    pretrain_learning_rate: Rate


class DetectorParams(TrainingParams):
    """How the detector is trained, and from which scores on it is measured."""

    pictures: Positive
    held_out_pictures: Positive
    attribute_threshold: Probability
    primitive_threshold: Probability
    nms_iou: Probability


P = TypeVar("P", bound=TrainingParams)


def read_plan(name: str, kind: type[P], path: Path) -> tuple[P, int, dict[str, Any]]:
    """Read a section, the seed and all that decides the model's bytes; set the threads."""
    plan, seed = load_section(name, kind, path), load_section("seed", Seed, path)
    threads = load_section("threads", Threads, path)
    set_threads(threads)
    return plan, seed, {"seed": seed, "threads": threads, **plan.model_dump()}
