"""Draws what diffusers' stock pipelines draw, seed by seed; in float32 the same pictures."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selma.diffusion.backbone import Backbone, Conditions, Trajectory
from selma.diffusion.steps import Step, TakeStep, take_step

if TYPE_CHECKING:
    import torch


def draw_batch(
    prompts: Sequence[str],
    seeds: Sequence[int],
    backbone: Backbone,
    *,
    guidance_scale: float,
    inference_steps: int,
    take_step: TakeStep = take_step,
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
        take_step: what is done in each step; it may change the denoiser's weights.

    Returns:
        Pixels (N, H, W, 3) in [0, 1], or NaN where the model failed.
    """
    import torch

    with torch.inference_mode():
        latents = denoise(
            backbone.encode_prompts(prompts), seeds, backbone, guidance_scale=guidance_scale,
            inference_steps=inference_steps, take_step=take_step,
        )  # fmt: skip
        pixels = backbone.decode(latents)  # (N, 3, H, W) in [-1, 1]
        pixels = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    result: NDArray[np.float32] = pixels.float().cpu().numpy()
    return result


def denoise(
    conditions: Conditions, seeds: Sequence[int], backbone: Backbone, *, guidance_scale: float,
    inference_steps: int, take_step: TakeStep = take_step,
) -> "torch.Tensor":  # fmt: skip
    """Go from each seed's noise to latents (N, C, h, w), as `draw_batch` does; without gradients.

    `conditions` are of N encoded prompts.
    """
    import torch

    trajectory = backbone.trajectory(inference_steps)
    with torch.inference_mode(), _text_projected_once(backbone):
        dtype = next(iter(conditions.values())).dtype
        latents = initial_noise(seeds, backbone, dtype) * trajectory.initial_scale
        predict = guided_prediction(backbone, conditions, guidance_scale)
        for number, timestep in enumerate(trajectory.timesteps):
            step = Step(
                number, timestep, latents,
                predict=partial(predict, trajectory, timestep),
                follow=partial(_follow, trajectory, timestep),
            )  # fmt: skip
            latents = take_step(step)
    return latents


def guided_prediction(
    backbone: Backbone, conditions: Conditions, guidance_scale: float
) -> "Callable[[Trajectory, torch.Tensor, torch.Tensor], torch.Tensor]":
    """Prepare to predict a batch at a timestep, by guidance against the empty prompt if above 1.

    Returns a function of a trajectory, one of its timesteps and latents there (N, C, h, w).
    """
    import torch

    guided = guidance_scale > 1
    if guided:
        without = backbone.unconditional(len(next(iter(conditions.values()))))
        conditions = {  # (2N, …)
            name: torch.cat([without[name].to(told), told]) for name, told in conditions.items()
        }

    def predict(
        trajectory: Trajectory, timestep: "torch.Tensor", latents: "torch.Tensor"
    ) -> "torch.Tensor":
        seen = torch.cat([latents] * 2) if guided else latents  # (2N, C, h, w)
        prediction = backbone.predict(trajectory.seen(seen, timestep), timestep, conditions)
        if guided:
            without_text, with_text = prediction.chunk(2)
            prediction = without_text + guidance_scale * (with_text - without_text)
        return prediction

    return predict


def _follow(
    trajectory: Trajectory, timestep: "torch.Tensor", prediction: "torch.Tensor",
    latents: "torch.Tensor",
) -> "torch.Tensor":  # fmt: skip
    following: torch.Tensor = trajectory.step(prediction, timestep, latents)
    return following


@contextlib.contextmanager
def _text_projected_once(backbone: Backbone) -> Iterator[None]:
    """Keep what attention makes of the text, its keys and values, over the steps of a batch.

    A step may put other weights in place of a layer's; what each of them makes of it is kept.
    """
    named = backbone.denoiser.named_modules()
    layers = [layer for name, layer in named if name.endswith(backbone.text_projections)]
    before = [vars(layer).get("forward") for layer in layers]  # None: its class's
    for layer in layers:
        layer.forward = _kept(layer)
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            del layer.forward
            if own is not None:
                layer.forward = own


_Kept = dict[int, "tuple[Any, torch.Tensor, torch.Tensor]"]  # weight, text, projection by id


def _kept(layer: Any) -> object:
    project, known = layer.forward, _Kept()

    def projected(text: "torch.Tensor") -> "torch.Tensor":
        weight = getattr(layer, "weight", None)
        kept = known.get(id(weight))  # of the weight that it holds, so that no other has its id
        if kept is None or kept[1] is not text:
            kept = known[id(weight)] = (weight, text, project(text))
        return kept[2]

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
