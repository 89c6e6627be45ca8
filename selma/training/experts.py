"""The act of training: pictures of prompts in, a LoRA adapter out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selma.diffusion.backbone import Backbone
from selma.training.loop import Checkpointing
from selma.training.moments import encode_examples
from selma.training.trainer import Expert, train_expert

logger = logging.getLogger(__name__)


def train(
    rows: Sequence[Mapping[str, Any]],
    backbone: Backbone,
    *,
    name: str,
    seed: int,
    rank: int,
    learning_rate: float,
    weight_decay: float,
    train_steps: int,
    batch_size: int,
    max_gradient_norm: float,
    checkpointing: Checkpointing | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Expert:
    """Train a LoRA adapter on a model's pictures; mutates the backbone's U-Net.

    Args:
        rows: of an images table; their order does not matter.
        backbone: frozen, without an adapter.
        name: the skill or mixture, a part of each seed.
        seed: the run's.
        rank: see `train_expert`, as the arguments that follow.
        learning_rate: constant.
        weight_decay: AdamW's.
        train_steps: number of updates.
        batch_size: pictures per update.
        max_gradient_norm: the gradient is clipped to it.
        checkpointing: where to keep and find the progress.
        on_step: called after each step with the number of steps done and the loss.

    Raises:
        RecordError: there are no rows, a picture is damaged or of another size.
        SelmaError: loss or gradient are not finite.
    """
    examples = encode_examples(
        rows,
        vae=backbone.vae,
        tokenizer=backbone.tokenizer,
        text_encoder=backbone.text_encoder,
    )
    return train_expert(
        backbone.unet,
        backbone.noise_scheduler,
        examples,
        name=name,
        seed=seed,
        rank=rank,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        train_steps=train_steps,
        batch_size=batch_size,
        max_gradient_norm=max_gradient_norm,
        checkpointing=checkpointing,
        on_step=on_step,
    )
