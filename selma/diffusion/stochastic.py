"""DDIM that draws noise in each step: drawing as a chain of Gaussians whose densities are known."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selma.core.errors import ConfigError
from selma.diffusion.backbone import Backbone, Trajectory
from selma.diffusion.noising import Diffusion, clean_and_noise

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """What a batch's next latents are drawn from: independent numbers of one deviation."""

    mean: "Tensor"  # (N, C, h, w), float32
    deviation: float  # 0: they are the mean

    def at(self, noise: "Tensor") -> "Tensor":
        """Turn standard noise (N, C, h, w) into what is drawn."""
        return self.mean + self.deviation * noise

    def log_density(self, latents: "Tensor") -> "Tensor":
        """Compute the natural logarithm of the joint density of each picture's latents.

        It is summed in double precision: it runs to 10⁴ and more, of which differences are taken.

        Args:
            latents: (N, C, h, w).

        Returns:
            (N,) float64.
        """
        away = (latents.double() - self.mean.double()).div(self.deviation).square().flatten(1)
        constant = math.log(self.deviation) + 0.5 * math.log(2 * math.pi)
        return -0.5 * away.sum(1) - away.shape[1] * constant


class StochasticTrajectory(Trajectory):
    """DDIM with η = 1, arXiv 2010.02502, equations 12 and 16; the model's own spacing of steps.

    Its ends, where a Gaussian can degenerate:

    1. From plain noise (ᾱ = 0, zero terminal SNR) the variance is 1 − ᾱ of where the step ends, so
       the first step forgets what it comes from. That is an ordinary Gaussian of a model that
       predicts velocity or x₀; one that predicts noise is refused, for it says nothing there.
    2. To clean latents (ᾱ = 1, as of schedulers with set_alpha_to_one) the variance is 0: such a
       step has no density, it is taken as it is and is no action. With ᾱ < 1 at its end, as in
       Stable Diffusion, the last step is a Gaussian like the others.
    """

    def __init__(self, backbone: Backbone, inference_steps: int) -> None:
        """Lay out the steps of a backbone's noise schedule, whatever scheduler it draws with.

        ConfigError if it is no diffusion, or predicts noise from nothing but noise.
        """
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        if not isinstance(backbone.noising, Diffusion):
            raise ConfigError(
                f"the model is a {backbone.noising.prediction_type}; stochastic DDIM steps are "
                "known for diffusion alone"
            )
        scheduler = DDIMScheduler.from_config(backbone.noise_scheduler.config)
        super().__init__(scheduler, inference_steps, backbone.device)
        stride = scheduler.config.num_train_timesteps // inference_steps
        starts = [int(timestep) for timestep in self.timesteps]
        last = float(scheduler.final_alpha_cumprod)

        def alpha_bar(timestep: int) -> float:
            return float(scheduler.alphas_cumprod[timestep]) if timestep >= 0 else last

        self._prediction_type = backbone.noising.prediction_type
        self._levels = [(alpha_bar(start), alpha_bar(start - stride)) for start in starts]
        if self._prediction_type == "epsilon" and min(start for start, _ in self._levels) <= 0:
            raise ConfigError(
                "the noise schedule ends in plain noise (rescale_betas_zero_snr), from which a "
                "model that predicts noise cannot tell a picture; use one that predicts velocity"
            )

    @property
    def actions(self) -> list[int]:
        """The numbers of the steps in which something is drawn."""
        return [number for number in range(len(self._levels)) if self.deviation(number) > 0]

    def deviation(self, number: int) -> float:
        """σ of a step, by its number from 0."""
        start, end = self._levels[number]
        variance = (1 - end) / (1 - start) * (1 - start / end)
        return math.sqrt(max(variance, 0.0))

    def gaussian(self, prediction: "Tensor", latents: "Tensor", number: int) -> Gaussian:
        """Say what step `number` draws from, by a prediction for latents (N, C, h, w) there."""
        start, end = self._levels[number]
        deviation = self.deviation(number)
        clean, noise = clean_and_noise(
            self._prediction_type, prediction.float(), latents.float(), start
        )
        towards = math.sqrt(max(1 - end - deviation**2, 0.0))  # rounding aside not below 0
        return Gaussian(math.sqrt(end) * clean + towards * noise, deviation)
