"""A model as a policy: it draws by stochastic steps, and its pictures are rewarded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.diffusion.backbone import Backbone, Conditions
from selma.diffusion.requests import Request, to_uint8
from selma.diffusion.sampling import guided_prediction
from selma.diffusion.stochastic import Gaussian, StochasticTrajectory

if TYPE_CHECKING:
    import torch

# Of prompts and their pictures (H, W, 3): one number each, the higher the better; NaN: not known.
Reward = Callable[[Sequence[str], Sequence[NDArray[np.uint8]]], NDArray[np.float64]]
Predict = Callable[[Any, "torch.Tensor", "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class Drawn:
    """Pictures that were drawn together, with all their latents on the way."""

    latents: "torch.Tensor"  # (T + 1, N, C, h, w) float32
    log_densities: "torch.Tensor"  # (T, N) float64, 0 where nothing is drawn
    rewards: "torch.Tensor"  # (N,) float64

    def flat(self, number: int) -> "torch.Tensor":
        """Write all in one vector, filled up to what `number` pictures take."""
        import torch

        parts = (self.latents.double(), self.log_densities, self.rewards)
        vector = torch.cat([part.to(self.latents.device).flatten() for part in parts])
        size = len(vector) // len(self.rewards) * number
        return torch.nn.functional.pad(vector, (0, size - len(vector)))

    def read(self, vector: "torch.Tensor", number: int) -> "Drawn":
        """Read what another process wrote of `number` pictures; shapes are as here."""
        import torch

        steps, _, *shape = self.latents.shape
        sizes = [steps * number * int(np.prod(shape)), (steps - 1) * number, number]
        latents, densities, rewards = torch.split(vector[: sum(sizes)], sizes)
        return Drawn(
            latents.view(steps, number, *shape).float(), densities.view(-1, number), rewards
        )


@dataclass(frozen=True)
class Policy:
    """A model that draws by stochastic DDIM, and what its pictures are worth."""

    backbone: Backbone
    trajectory: StochasticTrajectory
    guidance_scale: float
    reward: Reward

    def told(self, requests: Sequence[Request]) -> "Predict":
        """Prepare to predict for some pictures, with classifier-free guidance, in training too."""
        dtype = self.backbone.denoiser.dtype
        encoded = self.backbone.encode_prompts([request.prompt for request in requests])
        conditions: Conditions = {name: values.to(dtype) for name, values in encoded.items()}
        return guided_prediction(self.backbone, conditions, self.guidance_scale)

    def step(self, predict: "Predict", latents: "torch.Tensor", number: int) -> Gaussian:
        """What step `number` draws from, at latents (N, C, h, w)."""
        timestep = self.trajectory.timesteps[number]
        seen = latents.to(self.backbone.denoiser.dtype)
        return self.trajectory.gaussian(predict(self.trajectory, timestep, seen), latents, number)

    def draw(self, requests: Sequence[Request]) -> Drawn:
        """Draw pictures, each from its own seed alone, and have them rewarded."""
        import torch

        noise = step_noise(requests, self.backbone, len(self.trajectory.timesteps))
        latents, densities = [noise[0]], []
        with torch.no_grad():
            predict = self.told(requests)
            for number in range(len(self.trajectory.timesteps)):
                gaussian = self.step(predict, latents[-1], number)
                latents.append(gaussian.at(noise[number + 1]))
                drawn = gaussian.deviation > 0
                densities.append(
                    gaussian.log_density(latents[-1]) if drawn else torch.zeros(len(requests))
                )
            pixels = self.backbone.decode(latents[-1])  # (N, 3, H, W) in [-1, 1]
        pixels = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        names = [f"{request.item_id}/{request.sample}" for request in requests]
        pictures = to_uint8(pixels.float().cpu().numpy(), names)
        rewards = self.reward([request.prompt for request in requests], pictures)
        return Drawn(
            torch.stack(latents),
            torch.stack([one.double().to(self.backbone.device) for one in densities]),
            torch.from_numpy(np.asarray(rewards, np.float64)).to(self.backbone.device),
        )


def step_noise(
    requests: Sequence[Request], backbone: Backbone, inference_steps: int
) -> "torch.Tensor":
    """Draw the noise of a picture's beginning and of each step; (T + 1, N, C, h, w) float32."""
    import torch

    shape = (inference_steps + 1, *backbone.latent_shape)
    noise = [
        torch.randn(shape, generator=torch.Generator().manual_seed(request.seed))
        for request in requests
    ]
    return torch.stack(noise, dim=1).to(backbone.device)
