"""Writes an adapter as diffusers', as kohya's, or as a PEFT folder; the bytes are content's alone.

In all of them a layer's scale is folded into the factors.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.adapters.bases import find_base, possible_bases
from selma.adapters.factors import Adapter, LoraFactors
from selma.adapters.formats.container import body_hash, write_container
from selma.adapters.formats.keys import COMPONENTS, PEFT_PREFIX
from selma.adapters.formats.lora_config import TEXT_MODEL, config_of, usual_rank
from selma.adapters.formats.modelspec import modelspec, sd_scripts_keys
from selma.adapters.formats.names import TEXT_ENCODER, UNET, to_sgm
from selma.adapters.formats.reading import (
    DIFFUSERS_METADATA,
    OWN_METADATA,
    PEFT_CONFIG,
    PEFT_WEIGHTS,
)
from selma.core.errors import AdapterMismatchError, ConfigError
from selma.core.files import write_json

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

FORMAT_VERSION = 1
_CLASSES = {  # by which a PEFT folder says what it is of
    "unet": ("UNet2DConditionModel", "diffusers.models.unets.unet_2d_condition"),
    "transformer": ("SD3Transformer2DModel", "diffusers.models.transformers.transformer_sd3"),
    "text_encoder": ("CLIPTextModel", "transformers.models.clip.modeling_clip"),
    "text_encoder_2": ("CLIPTextModelWithProjection", "transformers.models.clip.modeling_clip"),
}  # fmt: skip


def components_of(adapter: Adapter) -> dict[str, dict[str, LoraFactors]]:
    """Group an adapter's layers by component, named without it."""
    found: dict[str, dict[str, LoraFactors]] = {}
    for layer, factors in sorted(adapter.items()):
        component, _, module = layer.partition(".")
        found.setdefault(component, {})[module] = factors
    return found


def write_diffusers(
    path: Path, adapter: Adapter, provenance: Mapping[str, Any], dtype: "torch.dtype | None" = None
) -> None:
    """Write tensors with PEFT's names and the component's in front, as diffusers saves them.

    Metadata are the `LoraConfig` of each component (alpha = rank, so that every reader agrees on
    scale 1), the provenance, which diffusers skips, and `modelspec`. `dtype` is of the factors,
    None keeps theirs.
    """
    tensors: Tensors = {}
    header: dict[str, Any] = {OWN_METADATA: {"format": FORMAT_VERSION, **provenance}}
    for component, layers in components_of(folded(adapter, dtype)).items():
        header |= {f"{component}.{key}": value for key, value in config_of(layers).items()}
        down, up = _halves(component, layers)
        for module, factors in layers.items():
            a, b = _weights(factors)
            tensors[f"{component}.{module}.{down}"], tensors[f"{component}.{module}.{up}"] = a, b
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    spec = modelspec(find_base(adapter), provenance, body_hash(tensors))
    write_container(path, tensors, {DIFFUSERS_METADATA: text, "format": "pt", **spec})


def write_peft(
    path: Path, adapter: Adapter, provenance: Mapping[str, Any], dtype: "torch.dtype | None" = None
) -> None:
    """Write a PEFT folder, or, of several components, one for each in it; an older one goes.

    The config comes last: without it a folder is none. Layers of a text encoder are named as its
    class names them in transformers 5.
    """
    components = components_of(folded(adapter, dtype))
    flat = "" if find_base(adapter) == "sd3" else "text_encoder"  # has no `text_model` then
    written: dict[Path, tuple[Tensors, dict[str, Any]]] = {}
    for component, layers in components.items():
        tensors: Tensors = {}
        for module, factors in layers.items():
            name = module.removeprefix(TEXT_MODEL) if component == flat else module
            a, b = _weights(factors)
            tensors[f"{PEFT_PREFIX}{name}.lora_A.weight"] = a
            tensors[f"{PEFT_PREFIX}{name}.lora_B.weight"] = b
        folder = path if len(components) == 1 else path / component
        written[folder] = tensors, {**config_of(layers), **_peft_options(component)}
    for folder in (path, *(path / name for name in COMPONENTS)):
        for name in (PEFT_CONFIG, PEFT_WEIGHTS):
            (folder / name).unlink(missing_ok=True)
    own = json.dumps({"format": FORMAT_VERSION, **provenance}, sort_keys=True, allow_nan=False)
    for folder, (tensors, options) in written.items():
        write_container(folder / PEFT_WEIGHTS, tensors, {OWN_METADATA: own, "format": "pt"})
        write_json(folder / PEFT_CONFIG, options)


def _peft_options(component: str) -> dict[str, Any]:
    name, library = _CLASSES[component]
    return {
        "peft_type": "LORA", "task_type": None, "bias": "none", "lora_dropout": 0.0,
        "use_rslora": False, "inference_mode": True, "base_model_name_or_path": None,
        "auto_mapping": {"base_model_class": name, "parent_library": library},
    }  # fmt: skip


def write_kohya(
    path: Path, adapter: Adapter, provenance: Mapping[str, Any],
    dtype: "torch.dtype | None" = None, *, sgm: bool = False,
) -> None:  # fmt: skip
    """Write names with underscores and an alpha per layer, as sd-scripts, A1111 and ComfyUI read.

    `sgm` names the U-Net's blocks as the original checkpoints do. Raises as `kohya_tensors`.
    """
    base = find_base(adapter)
    if sgm and "sdxl" not in possible_bases(adapter):
        raise ConfigError(
            "--names sgm: the adapter is of no Stable Diffusion XL, and only SDXL's blocks go by "
            "these names; use --names diffusers"
        )
    tensors, alpha = kohya_tensors(adapter, dtype, sgm=sgm)
    own = json.dumps({"format": FORMAT_VERSION, **provenance}, sort_keys=True, allow_nan=False)
    write_container(path, tensors, {
        OWN_METADATA: own,
        **sd_scripts_keys(adapter, base, provenance, alpha),
        **modelspec(base, provenance, body_hash(tensors), sgm=sgm),
    })  # fmt: skip


def kohya_tensors(
    adapter: Adapter, dtype: "torch.dtype | None" = None, *, sgm: bool = False
) -> "tuple[Tensors, float]":
    """Name an adapter's tensors as kohya does, and return them with the alpha of all layers.

    AdapterMismatchError if a layer is none of a U-Net or a CLIP text encoder, and as `folded`.
    """
    import torch

    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}
    if "text_encoder_2" in components_of(adapter) or find_base(adapter) == "sdxl":
        prefixes["text_encoder"] = "lora_te1"
    alpha = usual_rank(one.rank for one in adapter.values())
    tensors: Tensors = {}
    for component, layers in components_of(beside_one_alpha(adapter, dtype)).items():
        for module, factors in layers.items():
            name = _kohya_name(component, module, sgm)
            if name is None:
                raise AdapterMismatchError(
                    f"{component}.{module}: no layer of a Stable Diffusion 1, 2 or XL that kohya's "
                    "names can say; export it to diffusers"
                )
            key = f"{prefixes[component]}_{name.replace('.', '_')}"
            a, b = _weights(factors)
            tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = a, b
            tensors[f"{key}.alpha"] = torch.tensor(float(alpha))
    return tensors, float(alpha)


def folded(adapter: Adapter, dtype: "torch.dtype | None") -> dict[str, LoraFactors]:
    """Round factors to a dtype, their scales folded in, as diffusers' files and folders hold them.

    None keeps their own. AdapterMismatchError if numbers do not fit the dtype.
    """
    return {layer: _rounded(layer, one, dtype) for layer, one in adapter.items()}


def beside_one_alpha(adapter: Adapter, dtype: "torch.dtype | None") -> dict[str, LoraFactors]:
    """Do the same as `folded` but for a scale alpha / rank, as kohya's files hold them.

    Every layer gets the same alpha, the usual rank: stock diffusers 0.42 loses alphas that differ
    from layer to layer.
    """
    alpha = usual_rank(one.rank for one in adapter.values())
    found = {}
    for layer, one in adapter.items():
        scale = alpha / one.rank
        rest = replace(one, scale=one.scale / scale)
        found[layer] = replace(_rounded(layer, rest, dtype), scale=scale)
    return found


def _rounded(layer: str, factors: LoraFactors, dtype: "torch.dtype | None") -> LoraFactors:
    import torch

    kept = torch.promote_types(factors.lora_a.dtype, factors.lora_b.dtype)
    found = factors.cast(dtype or kept)
    a, b = found.lora_a, found.lora_b
    # a sum is finite only if all are, and quick; where it overflows, each is looked at
    if (a.sum().isfinite() and b.sum().isfinite()) or (a.isfinite().all() and b.isfinite().all()):
        return found
    name = str(a.dtype).removeprefix("torch.")
    raise AdapterMismatchError(
        f"{layer}: numbers are too large for {name}; choose bfloat16 or float32"
    )


def _kohya_name(component: str, module: str, sgm: bool) -> str | None:
    if component == "unet" and UNET.fullmatch(module):
        return to_sgm(module) if sgm or module.startswith("add_embedding") else module
    if component in ("text_encoder", "text_encoder_2") and TEXT_ENCODER.fullmatch(module):
        return module
    return None


def _halves(component: str, layers: Mapping[str, LoraFactors]) -> tuple[str, str]:
    """Choose the names of A and B.

    Of a text encoder's layers stock diffusers reads PEFT's names only if there is a projection of
    an attention among them.
    """
    if component.startswith("text_encoder") and not any("self_attn" in name for name in layers):
        return "lora_linear_layer.down.weight", "lora_linear_layer.up.weight"
    return "lora_A.weight", "lora_B.weight"


def _weights(factors: LoraFactors) -> "tuple[torch.Tensor, torch.Tensor]":
    """Shape A and B as weights of a layer's kind."""
    a, b = factors.lora_a, factors.lora_b
    if factors.kernel is not None:
        a = a.view(len(a), -1, *factors.kernel)  # (r, channels, height, width)
        b = b[:, :, None, None]  # (out, r, 1, 1)
    return a, b
