"""Trains the pocket world's image autoencoder: a small AutoencoderKL with 4× reduction."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.foundation.params import TrainingParams
from selma.foundation.training import fit
from selma.pocket import scenes
from selma.pocket.render import object_shares, render
from selma.training.loop import TrainingState, one_cycle

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL

OBJECT_WEIGHT = 7.0  # objects cover little of a picture, yet carry all its meaning
KL_WEIGHT = 3e-5


def uniform_scene(rng: random.Random) -> scenes.Scene:
    """Draw a scene in which every shape, colour, size and number of objects is equally likely."""
    kinds = (scenes.SHAPES, tuple(scenes.COLOURS), tuple(scenes.RADII_PX))
    scene = None
    while scene is None:
        number = rng.randint(1, scenes.MAX_OBJECTS)
        things = [scenes.Thing(*map(rng.choice, kinds)) for _ in range(number)]
        scene = scenes.build_scene(rng.choice(list(scenes.BACKGROUNDS)), things, rng)
    return scene


def build_autoencoder(seed: int) -> "AutoencoderKL":
    """Build the untrained autoencoder: 32×32×3 ↔ 8×8×4, 0.8 M parameters."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    return AutoencoderKL(
        sample_size=scenes.CANVAS_PX,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=1.0,
    ).to(memory_format=torch.channels_last)


def train_autoencoder(
    plan: TrainingParams,
    *,
    seed: int,
    device: str,
    work: Path,
    on_state: Callable[[TrainingState], None] | None = None,
) -> tuple["AutoencoderKL", list[float]]:
    """Train the autoencoder on scenes drawn afresh at every step.

    The loss is L1 + 2·L2 with object pixels weighted ``OBJECT_WEIGHT``, plus ``KL_WEIGHT`` times
    the KL divergence. At the end `scaling_factor` is set so that scaled latents have unit
    deviation. Returns the model in eval mode and one loss per step.
    """
    import torch

    model = build_autoencoder(seed).to(device)

    def loss_at(step: int) -> "torch.Tensor":
        generator = torch.Generator().manual_seed(derive_seed(seed, "autoencoder", step))
        rng = random.Random(derive_seed(seed, "autoencoder-scenes", step))
        batch = [uniform_scene(rng) for _ in range(plan.batch_size)]
        pixels = to_tensor(np.stack([render(scene) for scene in batch])).to(device)
        masks = np.stack([np.sum(object_shares(scene), axis=0) for scene in batch])  # (N, H, W)
        weight = 1 + (OBJECT_WEIGHT - 1) * torch.from_numpy(masks).float()[:, None].to(device)
        posterior = model.encode(pixels).latent_dist
        error = model.decode(posterior.sample(generator)).sample - pixels
        reconstruction = (weight * (error.abs() + 2 * error.square())).mean()
        loss: torch.Tensor = reconstruction + KL_WEIGHT * posterior.kl().mean()
        return loss

    state = fit(
        "autoencoder",
        work / "state.safetensors",
        plan.train_steps,
        plan.checkpoint_every_steps,
        parameters=dict(model.named_parameters()),
        loss_at=loss_at,
        learning_rate_at=one_cycle(plan.learning_rate, plan.train_steps),
        on_state=on_state,
    )
    model.cpu().eval()
    rng = random.Random(derive_seed(seed, "latent-scale"))
    with torch.no_grad():
        pixels = to_tensor(np.stack([render(uniform_scene(rng)) for _ in range(512)]))
        scale = 1.0 / float(model.encode(pixels).latent_dist.mean.std())
    model.register_to_config(scaling_factor=round(scale, 6))
    return model, state.curve()


def to_tensor(pictures: NDArray[np.uint8]) -> "torch.Tensor":
    """Turn pictures (N, H, W, 3) uint8 into (N, 3, H, W) float32 in [−1, 1], channels last."""
    import torch

    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)
