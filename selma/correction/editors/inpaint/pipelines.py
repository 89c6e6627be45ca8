"""Loads stock inpainting pipelines, on inpainting models and on those that draw whole pictures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.adapters.files import read_adapter
from selma.core.choices import choose
from selma.core.devices import torch_dtype
from selma.core.errors import BackendError, MissingDataError
from selma.diffusion.backbone import Backbone
from selma.diffusion.loading import add_updates
from selma.diffusion.parts import Parts
from selma.diffusion.stable_diffusion import StableDiffusion, StableDiffusionXL

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Family:
    """What loads a model's parts, and what puts them together."""

    backbone: type[StableDiffusion]
    assemble: Callable[[Backbone], Any]


def _stable_diffusion(backbone: Backbone) -> Any:
    from diffusers import StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline(
        **_parts(backbone),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _stable_diffusion_xl(backbone: Backbone) -> Any:
    from diffusers import StableDiffusionXLInpaintPipeline

    assert isinstance(backbone, StableDiffusionXL)
    second = backbone.encoders[1]
    return StableDiffusionXLInpaintPipeline(
        **_parts(backbone),
        text_encoder_2=second.model,
        tokenizer_2=second.tokenizer,
        force_zeros_for_empty_prompt=backbone.silent_is_zero,
        add_watermarker=False,
    )


def _parts(backbone: Backbone) -> dict[str, Any]:
    first = backbone.encoders[0]
    return {
        "vae": backbone.vae, "unet": backbone.denoiser, "scheduler": backbone.noise_scheduler,
        "text_encoder": first.model, "tokenizer": first.tokenizer,
    }  # fmt: skip


_SD = _Family(StableDiffusion, _stable_diffusion)
_SDXL = _Family(StableDiffusionXL, _stable_diffusion_xl)
# By the class that a model_index.json names.
PIPELINES = {
    "StableDiffusionInpaintPipeline": _SD,
    "StableDiffusionPipeline": _SD,
    "StableDiffusionXLInpaintPipeline": _SDXL,
    "StableDiffusionXLPipeline": _SDXL,
}


@dataclass(frozen=True)
class Inpainting:
    """A pipeline, and the size (width, height) in pixels of the pictures that its model draws."""

    pipeline: Any
    canvas: tuple[int, int]


def load_inpainting(path: str, dtype: str, device: str, adapter: str | None) -> Inpainting:
    """Load an inpainting pipeline from a folder in diffusers' layout, safetensors files only.

    A U-Net of 9 channels sees mask and masked picture; one of 4 channels draws whole pictures and
    is held to the known pixels in each step.

    Args:
        path: the folder; its model_index.json names one of `PIPELINES`.
        dtype: of the weights; SDXL's VAE stays float32 where it would overflow.
        device: where the weights go.
        adapter: a file or PEFT folder whose updates are added to the weights; None for none.

    Raises:
        MissingDataError: there is no such folder.
        RecordError: a part is missing, damaged or incomplete.
        ConfigError: the model, its noise scheduler or the dtype is none of those known.
        BackendError: the U-Net has other channels, or other conditions than its family.
        AdapterMismatchError: the adapter belongs to another model.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if not Path(path).is_dir():
        raise MissingDataError(f"{path}: no such folder; run `dvc pull`, or put the model there")
    weights = torch_dtype(dtype)
    parts = Parts(Path(path), device, dtype=weights, encoder_dtype=weights)
    name = str(parts.index().get("_class_name"))
    family = choose(f"inpainting model in {path}/model_index.json", name, PIPELINES)
    backbone = family.backbone.load(parts)
    channels = backbone.denoiser.config.in_channels
    if channels not in (4, 9):
        raise BackendError(
            f"{path}: its U-Net has {channels} input channels; inpainting models have 9, models "
            "that draw whole pictures 4"
        )
    if adapter is not None:
        add_updates(backbone.components, _updates(Path(adapter)), adapter)
    pipeline = family.assemble(backbone)
    pipeline.set_progress_bar_config(disable=True)
    height, width = backbone.picture_size
    return Inpainting(pipeline, (width, height))


def _updates(path: Path) -> "Iterator[tuple[str, torch.Tensor]]":
    for name, layer in read_adapter(path).items():
        yield name, layer.delta().view(layer.weight_shape)
