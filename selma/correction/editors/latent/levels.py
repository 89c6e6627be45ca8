"""The noise levels of DDIM, one step down and one step up, for noise and for velocity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selma.core.errors import BackendError
from selma.diffusion.noising import clean_and_noise

if TYPE_CHECKING:
    from torch import Tensor

PREDICTIONS = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class Levels:
    """T + 1 levels, the noisiest first, the last of clean latents; DDIM, arXiv 2010.02502, eta 0.

    Level i has ᾱ = `alphas_bar[i]`; step i leads from level i to level i + 1. Where the steps do
    not divide the schedule evenly, diffusers' DDIM falls short of its next time step by one; here a
    step always ends where the next one begins, so that stacks of latents fit together.
    """

    timesteps: tuple[int, ...]  # T, as the model reads them
    alphas_bar: tuple[float, ...]  # T + 1
    prediction_type: str  # of PREDICTIONS

    @property
    def steps(self) -> int:
        """T."""
        return len(self.timesteps)

    def timestep(self, level: int) -> int:
        """The time step at which the model is asked about latents of a level."""
        return self.timesteps[level] if level < self.steps else 0

    def denoise(self, prediction: "Tensor", latents: "Tensor", step: int) -> "Tensor":
        """Go from level `step` to the next, less noisy one, by a prediction made at `step`."""
        return self._between(prediction, latents, step, step + 1)

    def invert(self, prediction: "Tensor", latents: "Tensor", step: int) -> "Tensor":
        """Go from level `step` + 1 to `step`, by a prediction made at level `step` + 1."""
        return self._between(prediction, latents, step + 1, step)

    def noise_deviation(self, level: int) -> float:
        """√(1 − ᾱ)."""
        return float((1 - self.alphas_bar[level]) ** 0.5)

    def _between(self, prediction: "Tensor", latents: "Tensor", start: int, end: int) -> "Tensor":
        clean, noise = clean_and_noise(
            self.prediction_type, prediction, latents, self.alphas_bar[start]
        )
        result: Tensor = self.alphas_bar[end] ** 0.5 * clean + self.noise_deviation(end) * noise
        return result


def make_levels(scheduler_config: Mapping[str, Any], inference_steps: int) -> Levels:
    """Lay out a model's noise levels as DDIM does.

    Args:
        scheduler_config: of any of diffusers' noise schedulers.
        inference_steps: T.

    Raises:
        BackendError: the model predicts something else than noise or velocity, or predicts noise
            from nothing but noise.
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    scheduler = DDIMScheduler.from_config(scheduler_config)
    scheduler.set_timesteps(inference_steps)
    kind = scheduler.config.prediction_type
    if kind not in PREDICTIONS:
        raise BackendError(f"cannot edit with a model that predicts {kind!r}; needs {PREDICTIONS}")
    timesteps = [int(one) for one in scheduler.timesteps]
    alphas_bar = [float(scheduler.alphas_cumprod[one]) for one in timesteps]
    if kind == "epsilon" and min(alphas_bar) <= 0:
        raise BackendError(
            "the noise scheduler ends in plain noise (rescale_betas_zero_snr), from which a model "
            "that predicts noise cannot tell a picture; use one that predicts velocity"
        )
    return Levels(tuple(timesteps), (*alphas_bar, float(scheduler.final_alpha_cumprod)), kind)
