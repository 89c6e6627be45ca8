"""The sections of foundation/params.yaml: how the pocket world's own models are made."""

from typing import Annotated

from pydantic import Field

from selma.runtime.params import NonNegative, Positive, Section

Probability = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]


class AutoencoderParams(Section):
    """How the image autoencoder is trained."""

    train_steps: Positive
    batch_size: Positive
    learning_rate: Rate
    checkpoint_every_steps: Positive


class BaseModelParams(Section):
    """How a base model is trained: on what, how noisy, how long."""

    channels: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    pictures: Positive
    wrong_captions: Probability
    partial_captions: Probability
    train_steps: Positive
    schedule_steps: Positive
    cooldown_steps: NonNegative
    batch_size: Positive
    learning_rate: Rate
    average_decay: Probability
    checkpoint_every_steps: Positive
    grid_every_steps: Positive


class ScorerParams(Section):
    """How a preference scorer is trained; see `scorers.Plan`."""

    twins: Positive
    rankings: Positive
    held_out_rankings: Positive
    pretrain_steps: Positive
    pretrain_learning_rate: Rate
    train_steps: Positive
    learning_rate: Rate
    batch_size: Positive
    checkpoint_every_steps: Positive
