"""Reads an adapter in any layout into factors per layer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import LoraFactors
from selma.adapters.formats.container import json_object, read_container, read_metadata
from selma.adapters.formats.keys import COMPONENTS, Part, read_key
from selma.adapters.formats.lora_config import LoraConfig
from selma.adapters.formats.names import TEXT_ENCODER, UNET
from selma.core.errors import AdapterMismatchError, MissingDataError, RecordError
from selma.core.files import read_json

if TYPE_CHECKING:
    import torch

DIFFUSERS_METADATA = "lora_adapter_metadata"
OWN_METADATA = "selma"
PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_NAMES = {"A": "lora_A.weight", "B": "lora_B.weight", "alpha": "alpha"}


@dataclass(frozen=True)
class AdapterFile:
    """What a file or a PEFT folder holds.

    Factors are float32; `dtype` is the widest that they are stored in. `layouts` are those of its
    keys; without any alpha, in tensors or metadata, alpha = rank was `assumed`. `provenance` is how
    selma made it, empty if it did not.
    """

    adapter: dict[str, LoraFactors]
    layouts: tuple[str, ...]
    dtype: "torch.dtype"
    alpha_assumed: bool
    provenance: Mapping[str, Any]
    metadata: Mapping[str, str]


Found = dict[str, tuple["torch.Tensor", str, str]]  # part → tensor, its key, its layout


def read_file(path: Path) -> AdapterFile:
    """Read an adapter, a file in any layout or a PEFT folder; see `read_adapter` for errors."""
    if path.is_dir():
        return _read_folders(path)
    tensors, metadata = read_container(path)
    header = json_object(metadata, DIFFUSERS_METADATA, path)
    configs = {name: LoraConfig(_of_component(header, name)) for name in COMPONENTS}
    for name, config in configs.items():
        config.check(f"{path}: metadata {name}")
    parts = _sort(tensors, path, None)
    return _assemble(path, parts, configs, metadata, _own(header, metadata, path))


def provenance_of(path: Path) -> dict[str, Any]:
    """Read how an adapter was made without its numbers; empty for what selma did not write."""
    if path.is_dir():
        weights = [place / PEFT_WEIGHTS for place in peft_folders(path).values()]
        found = [_own({}, read_metadata(one), one) for one in weights]
        return next((one for one in found if one), {})
    metadata = read_metadata(path)
    return _own(json_object(metadata, DIFFUSERS_METADATA, path), metadata, path)


def peft_folders(path: Path) -> dict[str | None, Path]:
    """Find a PEFT folder, or one for each component in it, by its component if the name says it.

    MissingDataError if there is neither.
    """
    if (path / PEFT_CONFIG).is_file():
        return {path.name if path.name in COMPONENTS else None: path}
    found: dict[str | None, Path] = {
        name: path / name for name in COMPONENTS if (path / name / PEFT_CONFIG).is_file()
    }
    if not found:
        raise MissingDataError(
            f"{path}: a folder without {PEFT_CONFIG}; give a PEFT folder or a .safetensors file"
        )
    return found


def _read_folders(path: Path) -> AdapterFile:
    files = [_read_folder(folder, name) for name, folder in peft_folders(path).items()]
    adapter: dict[str, LoraFactors] = {}
    for one in files:
        adapter |= one.adapter
    first = files[0]
    return replace(
        first,
        adapter=dict(sorted(adapter.items())),
        dtype=max((one.dtype for one in files), key=lambda dtype: dtype.itemsize),
        alpha_assumed=any(one.alpha_assumed for one in files),
    )


def _read_folder(path: Path, component: str | None) -> AdapterFile:
    options = read_json(path / PEFT_CONFIG)
    if not isinstance(options, dict):
        raise RecordError(f"{path / PEFT_CONFIG}: must be a JSON object")
    config = LoraConfig(options)
    config.check(str(path / PEFT_CONFIG))
    weights = path / PEFT_WEIGHTS
    tensors, metadata = read_container(weights)
    name = component or _component(tensors, options, path)
    parts = _sort(tensors, weights, name)
    file = _assemble(weights, parts, {name: config}, metadata, _own({}, metadata, weights))
    return replace(file, layouts=("PEFT folder",))


def _component(
    tensors: Mapping[str, "torch.Tensor"], options: Mapping[str, Any], path: Path
) -> str:
    """Tell a PEFT folder's component by the names of its layers, and by the class in its config."""
    mapping = options.get("auto_mapping")
    model = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    for key in sorted(tensors):
        layer = read_key(key, path / PEFT_WEIGHTS, "unet").layer.removeprefix("unet.")
        if UNET.fullmatch(layer):
            return "unet"
        if layer.startswith("transformer_blocks."):
            return "transformer"
        if TEXT_ENCODER.fullmatch(layer) or TEXT_ENCODER.fullmatch(f"text_model.{layer}"):
            projected = model == "CLIPTextModelWithProjection"
            return "text_encoder_2" if projected else "text_encoder"
    raise AdapterMismatchError(
        f"{path / PEFT_WEIGHTS}: its layers are of no U-Net, transformer or CLIP text encoder; "
        f"if they are, name the folder {', '.join(COMPONENTS[:-1])} or {COMPONENTS[-1]}"
    )


def _of_component(header: Mapping[str, Any], component: str) -> dict[str, Any]:
    """Take a component's options; a U-Net's own `save_lora_adapter` puts no name in front."""
    if component == "unet" and "peft_type" in header:
        return {key: value for key, value in header.items() if key != OWN_METADATA}
    prefix = f"{component}."
    named = (key for key in header if key.startswith(prefix))
    return {key.removeprefix(prefix): header[key] for key in named}


def _own(header: Mapping[str, Any], metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    own = header.get(OWN_METADATA)
    if own is None:
        own = json_object(metadata, OWN_METADATA, path)
    if not isinstance(own, dict):
        raise RecordError(f"{path}: metadata {OWN_METADATA} must be a JSON object")
    return own


def _sort(
    tensors: Mapping[str, "torch.Tensor"], path: Path, component: str | None
) -> dict[str, Found]:
    """Sort tensors by layer and part; AdapterMismatchError if one is named twice."""
    parts: dict[str, Found] = {}
    for key, tensor in sorted(tensors.items()):
        place: Part = read_key(key, path, component)
        found = parts.setdefault(place.layer, {})
        if place.part in found:
            raise AdapterMismatchError(
                f"{path}: {place.layer} is named twice, by {found[place.part][1]} and by {key}; "
                "leave one of them out"
            )
        found[place.part] = tensor, key, place.layout
    if not parts:
        raise AdapterMismatchError(f"{path}: holds no LoRA factors")
    return parts


def _assemble(
    path: Path, parts: Mapping[str, Found], configs: Mapping[str, LoraConfig],
    metadata: Mapping[str, str], provenance: Mapping[str, Any],
) -> AdapterFile:  # fmt: skip
    adapter, assumed = {}, False
    for layer, found in sorted(parts.items()):
        component, _, module = layer.partition(".")
        config = configs[component]
        adapter[layer] = _factors(f"{path}: {layer}", module, found, config)
        assumed |= "alpha" not in found and not config.says_alpha
    halves = [found[part] for found in parts.values() for part in "AB"]
    layouts = Counter(layout for *_, layout in halves)
    dtype = max((tensor.dtype for tensor, *_ in halves), key=lambda one: one.itemsize)
    return AdapterFile(adapter, tuple(sorted(layouts)), dtype, assumed, provenance, metadata)


def _factors(where: str, module: str, found: Found, config: LoraConfig) -> LoraFactors:
    for part in "AB":
        if part not in found:
            there = ", ".join(key for _, key, _ in found.values())
            raise AdapterMismatchError(
                f"{where}: {_NAMES[part]} is missing, {there} is there; export it again"
            )
    values = {
        part: _numbers(where, key, tensor, integers=part == "alpha")
        for part, (tensor, key, _) in found.items()
    }
    a, b, kernel = values["A"], values["B"], None
    if a.ndim == 4 and b.ndim == 4 and tuple(b.shape[2:]) == (1, 1):
        kernel = int(a.shape[2]), int(a.shape[3])
        a, b = a.flatten(1), b.flatten(1)  # (r, in · height · width), (out, r)
    try:
        factors = LoraFactors(a, b, kernel=kernel)
        alpha = _scalar(values["alpha"]) if "alpha" in values else None
        return replace(factors, scale=config.scale(module, factors.rank, alpha))
    except AdapterMismatchError as error:
        raise AdapterMismatchError(f"{where}: {error}") from error


def _numbers(where: str, key: str, tensor: "torch.Tensor", *, integers: bool) -> "torch.Tensor":
    """Check that they are finite floating-point numbers, or `integers`; float32."""
    import torch

    part = key.removesuffix(".weight").rpartition(".")[2]
    part = f"{part}.weight" if key.endswith(".weight") else part
    problem = f"of type {tensor.dtype}"
    real = not tensor.is_complex() and tensor.dtype is not torch.bool
    if tensor.is_floating_point() or (integers and real):
        numbers = tensor.float()
        # the sum is finite only if all are, and quick; where it overflows, each is looked at
        if numbers.sum().isfinite() or numbers.isfinite().all():
            return numbers
        problem = "not finite"
    raise AdapterMismatchError(
        f"{where}: {part} is {problem}; expected floating-point numbers, none of them NaN or "
        "infinite"
    )


def _scalar(tensor: "torch.Tensor") -> float:
    if tensor.numel() != 1:
        raise AdapterMismatchError(f"alpha has {tensor.numel()} numbers; expected one")
    return float(tensor)
