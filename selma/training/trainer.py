"""Trains one expert: a LoRA adapter that draws one skill's pictures from its prompts."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from selma.core.seeds import derive_seed
from selma.diffusion.backbone import Backbone
from selma.training.loop import Checkpointing, train
from selma.training.moments import Examples
from selma.training.objective import min_snr_weights, squared_errors, stratified

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
    levels: "torch.Tensor"  # (N,) float64 in [0, 1), which become timesteps
    posterior_noise: "torch.Tensor"  # (N, C, H, W)
    noise: "torch.Tensor"  # (N, C, H, W)
    flipped: "torch.Tensor"  # (N,) bool

    def part(self, start: int, size: int) -> "Draws":
        """Cut a micro-batch out."""
        return Draws(**{name: value[start : start + size] for name, value in vars(self).items()})


@lru_cache(maxsize=4)
def item_order(seed: int, name: str, epoch: int, number: int) -> tuple[int, ...]:
    """The order in which an epoch visits the items, a permutation of 0 … number − 1."""
    import torch

    generator = torch.Generator().manual_seed(derive_seed(seed, "order", name, epoch))
    return tuple(torch.randperm(number, generator=generator).tolist())


def draw_step(
    *, seed: int, name: str, step: int, batch_size: int, number: int,
    latent_shape: Sequence[int], flip: bool,
) -> Draws:  # fmt: skip
    """Draw a step's randomness from the step's number alone.

    Args:
        seed: the run's.
        name: the skill.
        step: from 0.
        batch_size: N.
        number: of items in the training set; each epoch visits every item once.
        latent_shape: (C, H, W).
        flip: mirror every other picture, by chance.
    """
    import torch

    positions = range(step * batch_size, (step + 1) * batch_size)
    items = [item_order(seed, name, p // number, number)[p % number] for p in positions]
    generator = torch.Generator().manual_seed(derive_seed(seed, "lora", name, step))
    uniform = torch.rand(batch_size, generator=generator, dtype=torch.float64)
    shape = (batch_size, *latent_shape)
    return Draws(
        items=torch.tensor(items),
        levels=stratified(uniform),
        posterior_noise=torch.randn(shape, generator=generator),
        noise=torch.randn(shape, generator=generator),
        flipped=torch.rand(batch_size, generator=generator) < (0.5 if flip else 0.0),
    )


def denoising_losses(
    backbone: Backbone, examples: Examples, draws: Draws, min_snr_gamma: float | None = None
) -> "torch.Tensor":
    """Compute each item's loss, (N,) float32, weighted by `min_snr_weights` if γ is given."""
    import torch

    denoiser, noising, device = backbone.denoiser, backbone.noising, backbone.device
    means, deviations = examples.moments(draws.items.tolist(), draws.flipped.tolist())
    latents = means.to(device) + deviations.to(device) * draws.posterior_noise.to(device)
    noise = draws.noise.to(device)  # (N, C, H, W)
    timesteps = noising.timesteps(draws.levels.to(device))
    noisy = noising.add(latents, noise, timesteps).to(denoiser.dtype)
    conditions = examples.conditions_of(draws.items)
    conditions = {key: value.to(device, denoiser.dtype) for key, value in conditions.items()}
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    prediction = backbone.predict(noisy, timesteps, conditions)
    losses = squared_errors(prediction, noising.target(latents, noise, timesteps))
    if min_snr_gamma is not None:
        losses = losses * min_snr_weights(noising, timesteps, min_snr_gamma)
    return losses


def train_expert(
    backbone: Backbone,
    examples: Examples,
    *,
    name: str,
    seed: int,
    rank: int,
    targets: Sequence[str] | None,
    learning_rate: float,
    weight_decay: float,
    train_steps: int,
    batch_size: int,
    micro_batch_size: int,
    max_gradient_norm: float,
    min_snr_gamma: float | None,
    average_decay: float | None,
    flip: bool,
    checkpointing: Checkpointing | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Expert:
    """Train a new LoRA adapter on a frozen backbone; mutates its denoiser.

    As in SELMA (arXiv 2403.06952): constant learning rate, every prompt conditional (no prompt is
    dropped for guidance), all experts of a run start from the same A (it depends on the run's seed
    and not on the skill), so that they stay comparable and merge well. Different from SELMA:

    1. Pictures and prompts are encoded once; latents are drawn from the moments in each step.
    2. Timesteps are stratified over the batch; their distribution is the same.
    3. All randomness comes from (seed, name, step), so a training resumes in the same bytes.
    4. Pictures are mirrored only if `flip` says so; the paper's always are, by chance.
    5. The gradient is really clipped; in the released code it is not, but for SDXL.
    6. Training is in the backbone's dtype, the adapter in float32; the paper's is in float16.
    7. Pictures are kept without loss; the released code keeps them as JPEG.

    Args:
        backbone: frozen, without an adapter.
        examples: the training set, with mirrored pictures if `flip`.
        name: the skill, or "mixture".
        seed: the run's.
        rank: of the adapter, alpha = rank.
        targets: ends of the names of the layers that get an adapter; None: the family's attention.
        learning_rate: constant.
        weight_decay: AdamW's.
        train_steps: number of updates.
        batch_size: pictures per update.
        micro_batch_size: pictures in memory at once; their gradients are added up, and it is what
            the processes of a team share.
        max_gradient_norm: the gradient of all factors together is clipped to this norm.
        min_snr_gamma: weigh timesteps by min-SNR with this γ; None: all alike.
        average_decay: hand out the moving average of the factors instead of the last ones.
        flip: mirror every other picture, by chance.
        checkpointing: where to keep and find the progress.
        on_step: called after each step with the number of steps done and the loss.

    Raises:
        ConfigError: a target fits no layer.
        RecordError: the checkpoint cannot be read.
        SelmaError: a loss, a gradient or the weights are not finite.
    """
    import torch

    from selma.training.adapters import add_adapter

    parameters = add_adapter(
        backbone.denoiser, targets=tuple(targets or backbone.targets), rank=rank,
        seed=derive_seed(seed, "lora-init"),
    )  # fmt: skip
    logger.info(
        "training %s on %d pictures: %d steps of %d, rank %d, %d weights",
        name, len(examples), train_steps, batch_size, rank,
        sum(parameter.numel() for parameter in parameters.values()),
    )  # fmt: skip

    def parts_at(step: int) -> list[Callable[[], "torch.Tensor"]]:
        draws = draw_step(
            seed=seed, name=name, step=step, batch_size=batch_size, number=len(examples),
            latent_shape=examples.latent_shape, flip=flip,
        )  # fmt: skip

        def loss_of(start: int) -> "torch.Tensor":
            part = draws.part(start, micro_batch_size)
            return denoising_losses(backbone, examples, part, min_snr_gamma).sum() / batch_size

        return [partial(loss_of, start) for start in range(0, batch_size, micro_batch_size)]

    state = train(
        parameters,
        parts_at,
        train_steps=train_steps,
        learning_rate_at=lambda _: learning_rate,
        weight_decay=weight_decay,
        max_gradient_norm=max_gradient_norm,
        average_decay=average_decay,
        scaled=backbone.denoiser.dtype == torch.float16,
        checkpointing=checkpointing,
        on_step=on_step,
    )
    final = state.average or parameters
    return Expert({key: final[key].detach().cpu().clone() for key in parameters}, state.losses)
