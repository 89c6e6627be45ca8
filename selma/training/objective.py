"""The denoising objective: what the U-Net is asked to predict, and how far off it is."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def add_noise(
    latents: "torch.Tensor", noise: "torch.Tensor", alpha_bar: "torch.Tensor"
) -> "torch.Tensor":
    """Compute √ᾱ · x₀ + √(1 − ᾱ) · ε; DDPM, arXiv 2006.11239, equation 4.

    Args:
        latents: x₀, (N, C, H, W).
        noise: ε, as x₀.
        alpha_bar: the noise schedule's cumulative product at each timestep, (N, 1, 1, 1).
    """
    return alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise


def epsilon_target(
    latents: "torch.Tensor", noise: "torch.Tensor", alpha_bar: "torch.Tensor"
) -> "torch.Tensor":
    """Ask for the noise; DDPM, arXiv 2006.11239, equation 14."""
    return noise


def velocity_target(
    latents: "torch.Tensor", noise: "torch.Tensor", alpha_bar: "torch.Tensor"
) -> "torch.Tensor":
    """Ask for √ᾱ · ε − √(1 − ᾱ) · x₀; progressive distillation, arXiv 2202.00512, appendix D."""
    return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * latents


def sample_target(
    latents: "torch.Tensor", noise: "torch.Tensor", alpha_bar: "torch.Tensor"
) -> "torch.Tensor":
    """Ask for the clean latents."""
    return latents


# Keys as in the noise scheduler's config (`prediction_type`).
TARGETS = {"epsilon": epsilon_target, "v_prediction": velocity_target, "sample": sample_target}


def stratified_timesteps(uniform: "torch.Tensor", train_timesteps: int) -> "torch.Tensor":
    """Draw one uniform timestep per item, evenly spread over the batch.

    Item i of N gets ⌊(i + uᵢ)/N · T⌋: over the batch as a whole the timesteps are uniform, as with
    independent draws, but the loss varies less from step to step (VDM, arXiv 2107.00630, appendix
    I.1, with one uᵢ per item).

    Args:
        uniform: (N,) in [0, 1).
        train_timesteps: T.

    Returns:
        (N,) int64 in 0 … T − 1.
    """
    import torch

    number = uniform.shape[0]
    strata = (torch.arange(number, device=uniform.device) + uniform) / number  # (N,) in [0, 1)
    return (strata * train_timesteps).long().clamp(max=train_timesteps - 1)


def squared_error(prediction: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
    """Compute the mean squared error, in float32 whatever the model computes in."""
    import torch

    return torch.nn.functional.mse_loss(prediction.float(), target.float())
