"""Loads a Stable Diffusion part by part, to draw with it or to train an adapter on it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose, choose_name
from selma.core.errors import (
    AdapterMismatchError,
    BackendError,
    MissingDataError,
    RecordError,
    SelmaError,
    one_line,
)

if TYPE_CHECKING:
    import torch

# Schedulers that add no noise of their own at eta 0: the seed alone decides the picture.
NOISE_SCHEDULERS = (
    "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "PNDMScheduler",
    "UniPCMultistepScheduler",
)  # fmt: skip


@dataclass(frozen=True)
class Backbone:
    """The parts of a Stable Diffusion, in eval mode on `device`."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    noise_scheduler: Any
    device: str

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, H/f, W/f), f being the VAE's reduction."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.unet.config.in_channels), int(height), int(width)


def load_backbone(path: str, dtype: str, device: str) -> Backbone:
    """Load a model in diffusers' layout from its safetensors files; `dtype` is of all weights.

    MissingDataError if there is no such folder; RecordError names a part that is missing, damaged
    or incomplete; BackendError if the model is not of the Stable Diffusion 1 or 2 family;
    ConfigError if its noise scheduler is not one of NOISE_SCHEDULERS, or the dtype unknown.
    """
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading weights; the stage has its own
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    torch_dtype = choose("dtype", dtype, dtypes)
    if not Path(path).is_dir():
        raise MissingDataError(f"{path}: no such folder; run `dvc pull`, or put the model there")

    def load(part: str, loader: Callable[..., Any], **options: Any) -> Any:
        try:
            return loader(path, subfolder=part, **options)
        except SelmaError:
            raise
        except Exception as error:
            raise _damaged(path, part, one_line(error)) from error

    def load_weights(part: str, model_class: Any) -> Any:
        options = {"torch_dtype": torch_dtype, "use_safetensors": True, "output_loading_info": True}
        model, info = load(part, model_class.from_pretrained, **options)
        if info["missing_keys"]:
            raise _damaged(path, part, f"weights are missing: {sorted(info['missing_keys'])[:3]}")
        return model.requires_grad_(False).eval().to(device)

    unet = load_weights("unet", UNet2DConditionModel)
    if unet.config.addition_embed_type is not None or unet.config.time_cond_proj_dim is not None:
        raise BackendError(
            f"{path}: its U-Net wants other conditions than the text; "
            "the Stable Diffusion 1 and 2 families can be used"
        )
    text_encoder = load_weights("text_encoder", CLIPTextModel)
    tokenizer = load("tokenizer", CLIPTokenizer.from_pretrained)
    if len(tokenizer) != text_encoder.config.vocab_size:  # transformers makes up missing files
        size = text_encoder.config.vocab_size
        raise _damaged(path, "tokenizer", f"it has {len(tokenizer)} tokens, not {size}")
    return Backbone(
        unet=unet.to(memory_format=torch.channels_last),
        vae=load_weights("vae", AutoencoderKL).to(memory_format=torch.channels_last),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        noise_scheduler=load("scheduler", _load_noise_scheduler),
        device=device,
    )


def _damaged(path: str, part: str, reason: str) -> RecordError:
    return RecordError(
        f"{path}/{part}: cannot be loaded ({reason}); fetch it anew, e.g. by `dvc pull --force`"
    )


def _load_noise_scheduler(path: str, **at: Any) -> Any:
    """Load a noise scheduler with the two settings that `StableDiffusionPipeline` insists on."""
    import diffusers

    config = diffusers.DDIMScheduler.load_config(path, **at)  # any scheduler's file
    name = choose_name("noise scheduler", str(config.get("_class_name")), NOISE_SCHEDULERS)
    scheduler_class = getattr(diffusers, name)
    scheduler = scheduler_class.from_config(config)
    insisted = {"steps_offset": 1, "clip_sample": False}
    changes = {key: value for key, value in insisted.items() if key in scheduler.config}
    return scheduler_class.from_config(scheduler.config, **changes)


def add_updates(unet: Any, updates: "Iterable[tuple[str, torch.Tensor]]", source: str) -> None:
    """Add an adapter's dense updates to a U-Net's weights, W ← W + ΔW; mutates `unet`.

    Sums are made in the updates' precision and then cast back, so that a half-precision U-Net
    loses one rounding and no more. `unet` has no peft layers; `updates` are module names with
    ΔW (out, in), one module at a time; `source` is the adapter's file. AdapterMismatchError if a
    module is not there, or its weight has another shape.
    """
    import torch

    modules = dict(unet.named_modules())
    with torch.no_grad():
        for name, update in updates:
            weight: Any = getattr(modules.get(name), "weight", None)
            problem = ""
            if weight is None:
                problem = "the base model's U-Net has no such layer"
            elif weight.shape != update.shape:
                got, wanted = tuple(update.shape), tuple(weight.shape)
                problem = f"update is {got}, the base model's weight is {wanted}"
            if problem:
                problem += "; the adapter belongs to another base model"
                raise AdapterMismatchError(f"{source}: {name}: {problem}")
            weight.copy_(weight.to(update.dtype) + update.to(weight.device))
