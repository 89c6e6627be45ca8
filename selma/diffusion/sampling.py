"""Draws pictures from prompts exactly as stock `StableDiffusionPipeline` does, seed by seed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.diffusion.backbone import Backbone
from selma.diffusion.encoding import decode_latents, encode_prompts

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
    may be of any length; the tokenizer cuts them, see `count_truncated`.

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
    noise_scheduler = backbone.noise_scheduler
    read = [*([""] * len(prompts) if guided else []), *prompts]
    with torch.inference_mode():
        text = encode_prompts(backbone.tokenizer, backbone.text_encoder, read)  # (2N, tokens, d)
        noise_scheduler.set_timesteps(inference_steps, device=backbone.device)
        latents = initial_noise(seeds, backbone, text.dtype) * noise_scheduler.init_noise_sigma
        for timestep in noise_scheduler.timesteps:
            seen = torch.cat([latents] * 2) if guided else latents  # (2N, C, h, w)
            seen = noise_scheduler.scale_model_input(seen, timestep)
            noise = backbone.unet(seen, timestep, encoder_hidden_states=text, return_dict=False)[0]
            if guided:
                without_text, with_text = noise.chunk(2)
                noise = without_text + guidance_scale * (with_text - without_text)
            latents = noise_scheduler.step(noise, timestep, latents, return_dict=False)[0]
        pixels = decode_latents(backbone.vae, latents)  # (N, 3, H, W) in [-1, 1]
        pixels = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    result: NDArray[np.float32] = pixels.float().cpu().numpy()
    return result


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


def count_truncated(prompts: Sequence[str], backbone: Backbone) -> int:
    """Count the prompts that are longer than the text encoder reads; their ends go unseen."""
    tokenizer = backbone.tokenizer
    lengths = map(len, tokenizer(list(prompts), truncation=False, verbose=False)["input_ids"])
    return sum(length > tokenizer.model_max_length for length in lengths)
