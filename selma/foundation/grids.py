"""Draws a grid of sample pictures, to look at a base model while it learns."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selma.core.seeds import derive_seed
from selma.foundation.denoiser import Denoiser, build_pipeline

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer

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
) -> Callable[[int, Denoiser], None]:
    """Make a function that draws ``step_NNNNN.png``: a row per prompt, the same seeds each time."""
    import torch
    from PIL import Image

    def draw(step: int, denoiser: Denoiser) -> None:
        pipeline = build_pipeline(autoencoder, tokenizer, denoiser)
        pipeline.set_progress_bar_config(disable=True)
        places = list(itertools.product(range(len(PROMPTS)), range(COLUMNS)))
        seeds = [derive_seed(0, "grid", row, column) for row, column in places]
        pictures = pipeline(
            [PROMPTS[row] for row, _ in places],
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            guidance_scale=GUIDANCE_SCALE,
            num_inference_steps=INFERENCE_STEPS,
            output_type="np",
        ).images  # (rows·columns, H, W, 3) in [0, 1]
        cells = np.rint(pictures * 255).astype(np.uint8)
        rows = cells.reshape(-1, COLUMNS, *cells.shape[1:])  # (rows, columns, H, W, 3)
        image = Image.fromarray(np.concatenate([np.hstack(list(row)) for row in rows]))
        directory.mkdir(parents=True, exist_ok=True)
        size = (image.width * ZOOM, image.height * ZOOM)
        image.resize(size, Image.Resampling.NEAREST).save(directory / f"step_{step:05d}.png")

    return draw
