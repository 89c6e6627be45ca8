"""An SDXL refiner goes over an edited picture: stock image to image; SLD 4.9."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.devices import torch_dtype
from selma.core.errors import BackendError, MissingDataError, one_line
from selma.correction.editors.latent.settings import RefinerSettings

if TYPE_CHECKING:
    from PIL.Image import Image


class Refiner:
    """Loaded once; each picture has a seed."""

    def __init__(self, settings: RefinerSettings, device: str) -> None:
        """Load the model.

        Raises:
            MissingDataError: there is no such folder.
            BackendError: diffusers cannot load it.
        """
        from diffusers import StableDiffusionXLImg2ImgPipeline

        if not Path(settings.path).is_dir():
            raise MissingDataError(f"{settings.path}: no such folder; put the refiner there")
        try:
            self._pipeline: Any = StableDiffusionXLImg2ImgPipeline.from_pretrained(
                settings.path, dtype=torch_dtype(settings.dtype), use_safetensors=True,
                local_files_only=True, add_watermarker=False,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise BackendError(f"{settings.path}: no SDXL refiner: {one_line(error)}") from error
        self._pipeline.to(device).set_progress_bar_config(disable=True)
        self._settings = settings

    def refine(self, picture: "Image", prompt: str, seed: int) -> "Image":
        """Draw a picture anew from a little noise; the result has the refiner's size."""
        import torch
        from PIL.Image import Resampling

        settings = self._settings
        scale = settings.size_px / (picture.width * picture.height) ** 0.5
        step = self._pipeline.vae_scale_factor
        width, height = (max(step, round(side * scale / step) * step) for side in picture.size)
        refined: Image = self._pipeline(
            prompt=prompt,
            image=picture.resize((width, height), Resampling.LANCZOS),
            strength=settings.strength,
            num_inference_steps=settings.inference_steps,
            guidance_scale=settings.guidance,
            aesthetic_score=settings.aesthetic_score,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]  # fmt: skip
        return refined
