"""One face for every text-to-image model: encode, add noise, predict, step, decode."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from selma.diffusion.noising import Noising

if TYPE_CHECKING:
    import torch

Conditions = dict[str, "torch.Tensor"]  # what a model is told, by name; N rows in each

# Fixed, so that the encoded values do not depend on anything that a person may change.
PROMPTS_AT_ONCE = 32
PIXELS_AT_ONCE = 2**21  # of pictures in the VAE: 2 of 1024 × 1024, 8 of 512 × 512


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer and the model that reads its tokens."""

    tokenizer: Any
    model: Any

    def tokens(self, prompts: Sequence[str]) -> Any:
        """Tokenize to the length that the model reads, (N, tokens); what is longer is cut."""
        tokenizer = self.tokenizer
        return tokenizer(
            list(prompts), padding="max_length", max_length=tokenizer.model_max_length,
            truncation=True, return_tensors="pt",
        ).to(self.model.device)  # fmt: skip

    def count_truncated(self, prompts: Sequence[str]) -> int:
        """Count the prompts that are longer than the model reads; their ends go unseen."""
        ids = self.tokenizer(list(prompts), truncation=False, verbose=False)["input_ids"]
        return sum(len(one) > self.tokenizer.model_max_length for one in ids)


class Backbone(ABC):
    """A text-to-image model in eval mode on `device`; a subclass is a family of models.

    The denoiser is the network that is taught, whatever its kind; `component` is its folder, by
    which adapters name it, and `targets` are the ends of the names of its attention projections.
    `weighted` are the folders that hold weights; `noise_schedulers` are the classes that can draw,
    those that add no noise of their own, so that the seed alone decides the picture.
    """

    component: ClassVar[str]
    targets: ClassVar[tuple[str, ...]]
    text_projections: ClassVar[tuple[str, ...]] = ()  # ends of layers that see the text alone
    weighted: ClassVar[tuple[str, ...]]
    noise_schedulers: ClassVar[tuple[str, ...]]

    def __init__(
        self, *, denoiser: Any, vae: Any, encoders: Sequence[TextEncoder], noise_scheduler: Any,
        noising: Noising, device: str,
    ) -> None:  # fmt: skip
        """Put a model together; all parts are on `device`."""
        self.denoiser, self.vae, self.encoders = denoiser, vae, encoders
        self.noise_scheduler, self.noising, self.device = noise_scheduler, noising, device

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H/f, W/f), f being the VAE's reduction."""
        size = self.denoiser.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.denoiser.config.in_channels), int(height), int(width)

    @property
    def picture_size(self) -> tuple[int, int]:
        """(H, W) of the pictures that it draws, in pixels."""
        reduction = 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.latent_shape[1] * reduction, self.latent_shape[2] * reduction

    @property
    def components(self) -> dict[str, Any]:
        """The networks that an adapter may change, by the names of their folders."""
        encoders = {
            f"text_encoder{f'_{number}' if number > 1 else ''}": encoder.model
            for number, encoder in enumerate(self.encoders, 1)
        }
        return {self.component: self.denoiser, **encoders}

    @abstractmethod
    def encode_different(self, prompts: Sequence[str]) -> Conditions:
        """Encode a few prompts at once."""

    @abstractmethod
    def predict(
        self, noisy: "torch.Tensor", timesteps: "torch.Tensor", conditions: Conditions
    ) -> "torch.Tensor":
        """Predict what `noising` asks for; (N, C, H/f, W/f) of latents and timesteps (N,) or ()."""

    def encode_prompts(self, prompts: Sequence[str], at_once: int = PROMPTS_AT_ONCE) -> Conditions:
        """Encode prompts as the stock pipeline does, `at_once` different ones together."""
        import torch

        different = list(dict.fromkeys(prompts))
        with torch.no_grad():
            parts = [
                self.encode_different(different[start : start + at_once])
                for start in range(0, len(different), at_once)
            ]
        rows = {prompt: row for row, prompt in enumerate(different)}
        order = [rows[prompt] for prompt in prompts]
        return {name: torch.cat([part[name] for part in parts])[order] for name in parts[0]}

    def unconditional(self, number: int) -> Conditions:
        """Say nothing, for classifier-free guidance, as the stock pipeline does."""
        return self.encode_prompts([""] * number)

    def count_truncated(self, prompts: Sequence[str]) -> int:
        """Count the prompts that no text encoder reads to their end."""
        return min(encoder.count_truncated(prompts) for encoder in self.encoders)

    def encode_pictures(self, pixels: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Encode pictures (N, 3, H, W) in [-1, 1] to their latents' means and deviations.

        Returns:
            Two tensors (N, C, H/f, W/f), float32, after the VAE's shift and scaling.
        """
        import torch

        scale, shift = self._scale_and_shift()
        means, deviations = [], []
        with torch.no_grad():
            for batch in torch.split(pixels, pictures_at_once(*pixels.shape[2:])):
                posterior = self.vae.encode(batch.to(self.device, self.vae.dtype)).latent_dist
                means.append((posterior.mean.float() - shift) * scale)
                deviations.append(posterior.std.float() * scale)
        return torch.cat(means), torch.cat(deviations)

    def decode(self, latents: "torch.Tensor") -> "torch.Tensor":
        """Decode latents (N, C, H/f, W/f) to pixels (N, 3, H, W) in [-1, 1], or a little beyond."""
        import torch

        scale, shift = self._scale_and_shift()
        latents = latents.to(self.vae.dtype) / scale + shift
        slices = torch.split(latents, pictures_at_once(*self.picture_size))
        return torch.cat([self.vae.decode(one, return_dict=False)[0] for one in slices])

    def _scale_and_shift(self) -> tuple[float, float]:
        config = self.vae.config
        return float(config.scaling_factor), float(config.shift_factor or 0.0)

    def trajectory(self, inference_steps: int) -> "Trajectory":
        """Prepare to draw one batch by so many steps."""
        return Trajectory(copy.deepcopy(self.noise_scheduler), inference_steps, self.device)


class Trajectory:
    """The way of one batch from noise to latents, by a scheduler that adds no noise of its own."""

    def __init__(self, noise_scheduler: Any, inference_steps: int, device: str) -> None:
        """Set the steps of a scheduler, which then belongs to this trajectory."""
        noise_scheduler.set_timesteps(inference_steps, device=device)
        self.noise_scheduler, self.timesteps = noise_scheduler, noise_scheduler.timesteps
        # a flow starts from plain noise and shows it to the model as it is
        self.initial_scale = getattr(noise_scheduler, "init_noise_sigma", 1.0)
        self.seen: Callable[[Any, Any], Any] = getattr(
            noise_scheduler, "scale_model_input", lambda latents, _: latents
        )

    def step(self, prediction: Any, timestep: Any, latents: Any) -> Any:
        """Go from one timestep's latents to the next's."""
        return self.noise_scheduler.step(prediction, timestep, latents, return_dict=False)[0]


def pictures_at_once(height: int, width: int) -> int:
    """How many pictures of a size, in pixels, go through a VAE together."""
    return max(1, PIXELS_AT_ONCE // (height * width))
