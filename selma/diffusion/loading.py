"""Loads a backbone of any family, and adds an adapter's updates to it."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose
from selma.core.devices import torch_dtype
from selma.core.errors import AdapterMismatchError, MissingDataError
from selma.diffusion.backbone import Backbone
from selma.diffusion.gated import GatedStableDiffusion
from selma.diffusion.parts import Parts
from selma.diffusion.stable_diffusion import StableDiffusion, StableDiffusionXL
from selma.diffusion.stable_diffusion_3 import StableDiffusion3

if TYPE_CHECKING:
    import torch

# What takes long to import when a model is loaded.
LIBRARIES = (
    "diffusers.models.autoencoders.autoencoder_kl", "diffusers.models.unets.unet_2d_condition",
    "transformers.models.clip.modeling_clip",
)  # fmt: skip
# By the class that a model_index.json names.
FAMILIES: dict[str, type[StableDiffusion] | type[StableDiffusion3]] = {
    "StableDiffusionPipeline": StableDiffusion,
    "StableDiffusionGLIGENPipeline": GatedStableDiffusion,
    "StableDiffusionXLPipeline": StableDiffusionXL,
    "StableDiffusion3Pipeline": StableDiffusion3,
}


def load_backbone(path: str, dtype: str, device: str, encoder_dtype: str | None = None) -> Backbone:
    """Load a model in diffusers' layout from its safetensors files.

    `dtype` is of all weights, or of the denoiser's if `encoder_dtype` says another for the VAE and
    the text encoders. MissingDataError if there is no such folder; RecordError names a part that is
    missing, damaged or incomplete; BackendError if the model does not take what its family takes;
    ConfigError if its family or its noise scheduler cannot be used, or the dtype is unknown.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading weights; the stage has its own
    if not Path(path).is_dir():
        raise MissingDataError(f"{path}: no such folder; run `dvc pull`, or put the model there")
    parts = Parts(
        Path(path), device,
        dtype=torch_dtype(dtype),
        encoder_dtype=torch_dtype(encoder_dtype or dtype),
    )  # fmt: skip
    name = str(parts.index().get("_class_name"))
    return choose(f"family of models in {path}/model_index.json", name, FAMILIES).load(parts)


def add_updates(
    components: Mapping[str, Any], updates: "Iterable[tuple[str, torch.Tensor]]", source: str
) -> None:
    """Add an adapter's dense updates to a backbone's weights, W ← W + ΔW; mutates `components`.

    Sums are made in the updates' precision and then cast back, so that a half-precision model
    loses one rounding and no more.

    Args:
        components: see `Backbone.components`; without peft layers.
        updates: ΔW in its weight's shape, named ``unet.mid_block…``, one layer at a time.
        source: the adapter's file.

    Raises:
        AdapterMismatchError: a layer is not there, or its weight has another shape.
    """
    import torch

    modules = _modules(components)
    with torch.no_grad():
        for name, update in updates:
            layer: Any = modules.get(name)
            total = updated_weight(name, layer, update, source)
            layer.weight.copy_(total)


@contextlib.contextmanager
def with_updates(
    components: Mapping[str, Any], updates: "Iterable[tuple[str, torch.Tensor]]", source: str
) -> Iterator[None]:
    """Add updates as `add_updates`, and at the end put the weights back as they were, bit for bit.

    The weights that change are kept meanwhile: what is subtracted again leaves rounding behind.
    """
    import torch

    modules, kept = _modules(components), list[tuple[Any, torch.Tensor]]()

    def keeping() -> "Iterator[tuple[str, torch.Tensor]]":
        for name, update in updates:
            if (weight := getattr(modules.get(name), "weight", None)) is not None:
                kept.append((weight, weight.detach().clone()))
            yield name, update

    try:
        add_updates(components, keeping(), source)
        yield
    finally:
        with torch.no_grad():
            for weight, before in reversed(kept):
                weight.copy_(before)


def _modules(components: Mapping[str, Any]) -> dict[str, Any]:
    modules: dict[str, Any] = {}
    for component, network in components.items():
        # transformers 5 has no such level in `CLIPTextModel`; adapters name layers with it
        flat = component.startswith("text_encoder") and not hasattr(network, "text_model")
        prefix = f"{component}.text_model" if flat else component
        modules |= {f"{prefix}.{name}": module for name, module in network.named_modules()}
    return modules


def updated_weight(name: str, layer: Any, update: "torch.Tensor", source: str) -> "torch.Tensor":
    """Compute a layer's W + ΔW, as `add_updates` adds it and with its errors."""
    import torch

    weight: Any = getattr(layer, "weight", None)
    problem = ""
    if weight is None:
        problem = "the base model has no such layer"
    elif weight.shape != update.shape:
        got, wanted = tuple(update.shape), tuple(weight.shape)
        problem = f"update is {got}, the base model's weight is {wanted}"
    if problem:
        problem += "; the adapter belongs to another base model"
        raise AdapterMismatchError(f"{source}: {name}: {problem}")
    with torch.no_grad():
        total = weight.to(update.dtype) + update.to(weight.device)
        return torch.empty_like(weight).copy_(total)
