"""How noise is mixed into latents, and what a denoiser is asked to predict from the mixture."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from selma.core.choices import choose

if TYPE_CHECKING:
    from torch import Tensor


class Noising(Protocol):
    """A process that turns latents into noise; timesteps are as the denoiser reads them, (N,)."""

    @property
    def prediction_type(self) -> str:
        """What is to be predicted, by name: of diffusers' configs, or "flow"."""

    def timesteps(self, uniform: "Tensor") -> "Tensor":
        """Turn numbers in [0, 1), (N,), into timesteps as they are drawn in training."""

    def add(self, latents: "Tensor", noise: "Tensor", timesteps: "Tensor") -> "Tensor":
        """Mix latents and noise, (N, C, H, W)."""

    def target(self, latents: "Tensor", noise: "Tensor", timesteps: "Tensor") -> "Tensor":
        """Say what is to be predicted, (N, C, H, W)."""

    def signal_to_noise(self, timesteps: "Tensor") -> "Tensor":
        """Compute the squared ratio of their shares, (N,)."""


@dataclass(frozen=True)
class Diffusion:
    """√ᾱ · x₀ + √(1 − ᾱ) · ε; DDPM, arXiv 2006.11239, equation 4.

    `alphas_bar` is the noise schedule's cumulative product, (T,); `prediction_type` is a key of
    TARGETS, ConfigError if it is another.
    """

    alphas_bar: "Tensor"
    prediction_type: str

    def __post_init__(self) -> None:
        """Check the prediction type."""
        choose("prediction type of the noise scheduler", self.prediction_type, TARGETS)

    def timesteps(self, uniform: "Tensor") -> "Tensor":
        """Draw evenly from 0 … T − 1, int64."""
        number = len(self.alphas_bar)
        return (uniform * number).long().clamp(max=number - 1)

    def add(self, latents: "Tensor", noise: "Tensor", timesteps: "Tensor") -> "Tensor":
        """Mix latents and noise."""
        alpha_bar = self._alpha_bar(timesteps)
        return alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise

    def target(self, latents: "Tensor", noise: "Tensor", timesteps: "Tensor") -> "Tensor":
        """Ask for what the model was trained to predict."""
        return TARGETS[self.prediction_type](latents, noise, self._alpha_bar(timesteps))

    def signal_to_noise(self, timesteps: "Tensor") -> "Tensor":
        """Compute ᾱ / (1 − ᾱ)."""
        alpha_bar = self._alpha_bar(timesteps).flatten()
        return alpha_bar / (1 - alpha_bar)

    def _alpha_bar(self, timesteps: "Tensor") -> "Tensor":
        return self.alphas_bar.to(timesteps.device)[timesteps].view(-1, 1, 1, 1)


def epsilon_target(latents: "Tensor", noise: "Tensor", alpha_bar: "Tensor") -> "Tensor":
    """Ask for the noise; DDPM, arXiv 2006.11239, equation 14."""
    return noise


def velocity_target(latents: "Tensor", noise: "Tensor", alpha_bar: "Tensor") -> "Tensor":
    """Ask for √ᾱ · ε − √(1 − ᾱ) · x₀; progressive distillation, arXiv 2202.00512, appendix D."""
    return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * latents


def sample_target(latents: "Tensor", noise: "Tensor", alpha_bar: "Tensor") -> "Tensor":
    """Ask for the clean latents."""
    return latents


# Keys as in the noise scheduler's config (`prediction_type`).
TARGETS = {"epsilon": epsilon_target, "v_prediction": velocity_target, "sample": sample_target}


def clean_and_noise(
    prediction_type: str, prediction: "Tensor", noisy: "Tensor", alpha_bar: "Tensor | float"
) -> "tuple[Tensor, Tensor]":
    """Take from a prediction what a mixture is made of, x₀ and ε: `TARGETS` turned round.

    Where ᾱ is 0 a prediction of the noise says nothing of x₀, and it is not finite; nor is the
    noise by a prediction of x₀ where ᾱ is 1.
    """
    signal, deviation = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    if prediction_type == "epsilon":
        return (noisy - deviation * prediction) / signal, prediction
    if prediction_type == "sample":
        return prediction, (noisy - signal * prediction) / deviation
    assert prediction_type == "v_prediction"
    return signal * noisy - deviation * prediction, signal * prediction + deviation * noisy


@dataclass(frozen=True)
class Flow:
    """(1 − σ) · x₀ + σ · ε, of which ε − x₀ is asked; SD3, arXiv 2403.03206, equations 1 and 13.

    A timestep is σ · `length`; `shift` moves the noise levels up, as the scheduler's does.
    """

    length: int
    shift: float

    @property
    def prediction_type(self) -> str:
        """The flow's velocity."""
        return "flow"

    def timesteps(self, uniform: "Tensor") -> "Tensor":
        """Draw logit-normal noise levels (arXiv 2403.03206, section 3.1), shifted; float32."""
        import torch

        level: Tensor = torch.special.ndtri(uniform.double().clamp(1e-6, 1 - 1e-6)).sigmoid()
        level = self.shift * level / (1 + (self.shift - 1) * level)
        return (level * self.length).float()

    def add(self, latents: "Tensor", noise: "Tensor", timesteps: "Tensor") -> "Tensor":
        """Mix latents and noise."""
        level = self._level(timesteps)
        return (1 - level) * latents + level * noise

    def target(self, latents: "Tensor", noise: "Tensor", timesteps: "Tensor") -> "Tensor":
        """Ask for the velocity from the latents to the noise."""
        return noise - latents

    def signal_to_noise(self, timesteps: "Tensor") -> "Tensor":
        """Compute (1 − σ)² / σ²."""
        level = self._level(timesteps).flatten()
        return ((1 - level) / level).square()

    def _level(self, timesteps: "Tensor") -> "Tensor":
        return (timesteps / self.length).view(-1, 1, 1, 1)
