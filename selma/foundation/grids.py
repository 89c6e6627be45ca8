"""Draws a grid of sample pictures, to look at a base model while it learns."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selma.core.seeds import derive_seed

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

PROMPTS = (
    "a large red circle on a white background",
    "three blue stars",
    "a green square to the left of a yellow heart",
    "a small pink ring, a large cyan cross, black background",
    "an unusual picture of a purple square",
    "in this picture we can see a large orange diamond. above the orange diamond there is a small "
    "green triangle. the background is gray.",
)
COLUMNS, INFERENCE_STEPS, GUIDANCE_SCALE, ZOOM = 8, 20, 3.0, 3


def grid_drawer(
    autoencoder: "AutoencoderKL", tokenizer: "CLIPTokenizer", directory: Path
) -> Callable[[int, "CLIPTextModel", "UNet2DConditionModel"], None]:
    """Give a function that draws ``step_NNNNN.png``: a row per prompt, the same seeds each time."""
    import torch
    from diffusers import StableDiffusionPipeline
    from PIL import Image

    from selma.foundation.denoiser import build_noise_scheduler

    def draw(step: int, text_encoder: "CLIPTextModel", unet: "UNet2DConditionModel") -> None:
        pipeline = StableDiffusionPipeline(
            vae=autoencoder,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=build_noise_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        prompts = [prompt for prompt in PROMPTS for _ in range(COLUMNS)]
        generators = [
            torch.Generator().manual_seed(derive_seed(0, "grid", row, column))
            for row in range(len(PROMPTS))
            for column in range(COLUMNS)
        ]
        pictures = pipeline(
            prompts,
            generator=generators,
            guidance_scale=GUIDANCE_SCALE,
            num_inference_steps=INFERENCE_STEPS,
            output_type="np",
        ).images  # (rows·columns, H, W, 3) in [0, 1]
        cells = np.rint(pictures * 255).astype(np.uint8)
        rows = [
            np.concatenate(list(row), axis=1)
            for row in cells.reshape(-1, COLUMNS, *cells.shape[1:])
        ]
        image = Image.fromarray(np.concatenate(rows, axis=0))
        directory.mkdir(parents=True, exist_ok=True)
        size = (image.width * ZOOM, image.height * ZOOM)
        image.resize(size, Image.Resampling.NEAREST).save(directory / f"step_{step:05d}.png")

    return draw
