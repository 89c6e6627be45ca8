"""Trains one expert: a LoRA adapter that draws one skill's pictures from its prompts."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose
from selma.core.seeds import derive_seed
from selma.training.loop import Checkpointing, train
from selma.training.moments import Examples
from selma.training.objective import TARGETS, add_noise, squared_error, stratified_timesteps

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Expert:
    """A trained adapter: tensors by name as in `add_adapter` (scale 1), and one loss per step."""

    tensors: Mapping[str, "torch.Tensor"]
    losses: Sequence[float]


@dataclass(frozen=True)
class Draws:
    """All that is random in one training step, for a batch of N; on the CPU."""

    items: "torch.Tensor"  # (N,) places in the training set
    timesteps: "torch.Tensor"  # (N,) int64
    posterior_noise: "torch.Tensor"  # (N, C, H, W)
    noise: "torch.Tensor"  # (N, C, H, W)


@functools.lru_cache(maxsize=4)
def item_order(seed: int, name: str, epoch: int, number: int) -> tuple[int, ...]:
    """The order in which an epoch visits the items, a permutation of 0 … number − 1."""
    import torch

    generator = torch.Generator().manual_seed(derive_seed(seed, "order", name, epoch))
    return tuple(torch.randperm(number, generator=generator).tolist())


def draw_step(
    *, seed: int, name: str, step: int, batch_size: int, number: int,
    latent_shape: Sequence[int], train_timesteps: int,
) -> Draws:  # fmt: skip
    """Draw a step's randomness from the step's number alone.

    Args:
        seed: the run's.
        name: the skill.
        step: from 0.
        batch_size: N.
        number: of items in the training set; each epoch visits every item once.
        latent_shape: (C, H, W).
        train_timesteps: the noise schedule's length.
    """
    import torch

    positions = range(step * batch_size, (step + 1) * batch_size)
    items = [item_order(seed, name, p // number, number)[p % number] for p in positions]
    generator = torch.Generator().manual_seed(derive_seed(seed, "lora", name, step))
    uniform = torch.rand(batch_size, generator=generator, dtype=torch.float64)
    shape = (batch_size, *latent_shape)
    return Draws(
        items=torch.tensor(items),
        timesteps=stratified_timesteps(uniform, train_timesteps),
        posterior_noise=torch.randn(shape, generator=generator),
        noise=torch.randn(shape, generator=generator),
    )


def denoising_loss(
    unet: Any, examples: Examples, draws: Draws, alphas_bar: "torch.Tensor", prediction_type: str
) -> "torch.Tensor":
    """Compute one batch's loss, a float32 scalar.

    Raises:
        ConfigError: the noise scheduler's `prediction_type` is unknown.
    """
    import torch

    target_of = choose("prediction type of the noise scheduler", prediction_type, TARGETS)
    device = examples.latent_means.device
    items, timesteps = draws.items.to(device), draws.timesteps.to(device)
    deviations = examples.latent_deviations[items]
    latents = examples.latent_means[items] + deviations * draws.posterior_noise.to(device)
    noise = draws.noise.to(device)  # (N, C, H, W)
    alpha_bar = alphas_bar.to(device)[timesteps].view(-1, 1, 1, 1)
    text_states = examples.text_states[examples.text_index[items]]  # (N, tokens, width)
    prediction = unet(
        add_noise(latents, noise, alpha_bar)
        .to(unet.dtype)
        .contiguous(memory_format=torch.channels_last),
        timesteps,
        encoder_hidden_states=text_states.to(unet.dtype),
        return_dict=False,
    )[0]
    return squared_error(prediction, target_of(latents, noise, alpha_bar))


def train_expert(
    unet: Any,
    noise_scheduler: Any,
    examples: Examples,
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
    """Train a new LoRA adapter on a frozen U-Net; mutates `unet`.

    As in SELMA (arXiv 2403.06952): constant learning rate, every prompt conditional (no prompt is
    dropped for guidance), all experts of a run start from the same A (it depends on the run's seed
    and not on the skill), so that they stay comparable and merge well. Different from SELMA:

    1. Pictures and prompts are encoded once; latents are drawn from the moments in each step.
    2. Timesteps are stratified over the batch; their distribution is the same.
    3. All randomness comes from (seed, name, step), so a training resumes in the same bytes.

    Args:
        unet: a frozen `UNet2DConditionModel` without adapters.
        noise_scheduler: read for `alphas_cumprod` and `config.prediction_type`.
        examples: the training set, on the U-Net's device.
        name: the skill, or "mixture".
        seed: the run's.
        rank: of the adapter, alpha = rank.
        learning_rate: constant.
        weight_decay: AdamW's.
        train_steps: number of updates.
        batch_size: pictures per update.
        max_gradient_norm: the gradient of all factors together is clipped to this norm.
        checkpointing: where to keep and find the progress.
        on_step: called after each step with the number of steps done and the loss.

    Raises:
        ConfigError: the noise scheduler's `prediction_type` is unknown.
        RecordError: the checkpoint cannot be read.
        SelmaError: a loss, a gradient or the weights are not finite.
    """
    from selma.training.adapters import add_adapter

    choose(
        "prediction type of the noise scheduler", noise_scheduler.config.prediction_type, TARGETS
    )
    parameters = add_adapter(unet, rank=rank, seed=derive_seed(seed, "lora-init"))
    alphas_bar = noise_scheduler.alphas_cumprod.to(examples.latent_means.device)
    logger.info(
        "training %s on %d pictures: %d steps of %d, rank %d, %d weights",
        name, len(examples), train_steps, batch_size, rank,
        sum(parameter.numel() for parameter in parameters.values()),
    )  # fmt: skip

    def loss_at(step: int) -> "torch.Tensor":
        draws = draw_step(
            seed=seed, name=name, step=step, batch_size=batch_size, number=len(examples),
            latent_shape=examples.latent_means.shape[1:], train_timesteps=len(alphas_bar),
        )  # fmt: skip
        prediction_type = noise_scheduler.config.prediction_type
        return denoising_loss(unet, examples, draws, alphas_bar, prediction_type)

    state = train(
        parameters,
        loss_at,
        train_steps=train_steps,
        learning_rate_at=lambda _: learning_rate,
        weight_decay=weight_decay,
        max_gradient_norm=max_gradient_norm,
        checkpointing=checkpointing,
        on_step=on_step,
    )
    tensors = {key: value.detach().cpu().clone() for key, value in parameters.items()}
    return Expert(tensors, state.losses)
