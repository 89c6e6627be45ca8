"""Draws what diffusers' stock pipelines draw, seed by seed; in float32 the same pictures."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.diffusion.backbone import Backbone

if TYPE_CHECKING:
    import torch


def draw_batch(
    prompts: Sequence[str],
    seeds: Sequence[int],
    backbone: Backbone,
    *,
    guidance_scale: float,
    inference_steps: int,
) -> NDArray[np.float32]:
    """Draw one picture per prompt and seed, on which alone it depends, as one batch.

    Another batch size changes the order of float sums, so at most the last of 256 levels. Prompts
    may be of any length; the tokenizers cut them, see `Backbone.count_truncated`.

    Args:
        prompts: N prompts.
        seeds: N seeds.
        backbone: what draws.
        guidance_scale: of classifier-free guidance against the empty prompt; 1.0 is off.
        inference_steps: of the noise scheduler, eta 0.

    Returns:
        Pixels (N, H, W, 3) in [0, 1], or NaN where the model failed.
    """
    import torch

    guided = guidance_scale > 1
    trajectory = backbone.trajectory(inference_steps)
    with torch.inference_mode(), _text_projected_once(backbone):
        conditions = backbone.encode_prompts(prompts)
        if guided:
            without = backbone.unconditional(len(prompts))
            conditions = {n: torch.cat([without[n], conditions[n]]) for n in conditions}  # (2N, …)
        dtype = next(iter(conditions.values())).dtype
        latents = initial_noise(seeds, backbone, dtype) * trajectory.initial_scale
        for timestep in trajectory.timesteps:
            seen = torch.cat([latents] * 2) if guided else latents  # (2N, C, h, w)
            prediction = backbone.predict(trajectory.seen(seen, timestep), timestep, conditions)
            if guided:
                without_text, with_text = prediction.chunk(2)
                prediction = without_text + guidance_scale * (with_text - without_text)
            latents = trajectory.step(prediction, timestep, latents)
        pixels = backbone.decode(latents)  # (N, 3, H, W) in [-1, 1]
        pixels = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    result: NDArray[np.float32] = pixels.float().cpu().numpy()
    return result


@contextlib.contextmanager
def _text_projected_once(backbone: Backbone) -> Iterator[None]:
    """Keep what attention makes of the text, its keys and values, over the steps of a batch."""
    named = backbone.denoiser.named_modules()
    layers = [layer for name, layer in named if name.endswith(backbone.text_projections)]
    before = [vars(layer).get("forward") for layer in layers]  # None: its class's
    for layer in layers:
        layer.forward = _kept(layer.forward)
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            del layer.forward
            if own is not None:
                layer.forward = own


def _kept(project: "Callable[[torch.Tensor], torch.Tensor]") -> object:
    known: list[torch.Tensor] = []

    def projected(text: "torch.Tensor") -> "torch.Tensor":
        if not known or known[0] is not text:
            known[:] = [text, project(text)]
        return known[1]

    return projected


def initial_noise(seeds: Sequence[int], backbone: Backbone, dtype: "torch.dtype") -> "torch.Tensor":
    """Draw each picture's noise from its own generator on the CPU; (N, C, h, w)."""
    import torch

    noise = [
        torch.randn(
            (1, *backbone.latent_shape),
            generator=torch.Generator().manual_seed(seed),
            dtype=dtype,
        )
        for seed in seeds
    ]
    return torch.cat(noise).to(backbone.device, memory_format=torch.channels_last)
