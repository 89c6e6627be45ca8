"""Reads and writes adapters in diffusers' LoRA layout, which stock diffusers loads.

Tensors are ``<layer>.lora_A.weight`` (r, in) and ``<layer>.lora_B.weight`` (out, r); a layer is
``unet.<module>``.
Metadata are JSON: ``unet.*`` is the `LoraConfig` (each layer's alpha = its rank, so every reader
agrees on scale 1); ``selma``, which diffusers skips, says how the adapter was made.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.errors import AdapterMismatchError, MissingDataError, RecordError
from selma.core.files import write_bytes_atomic
from selma.merging.factors import LoraFactors

if TYPE_CHECKING:
    import torch

METADATA_KEY = "lora_adapter_metadata"
FORMAT_VERSION = 1
_KEY = re.compile(r"(?P<layer>unet\..+)\.(?P<part>lora_A\.weight|lora_B\.weight|alpha)")


def write_adapter(
    path: Path, factors: Mapping[str, LoraFactors], provenance: Mapping[str, Any]
) -> None:
    """Write an adapter, whole or not at all; the bytes depend on the arguments only.

    Factors are named by layer, ``unet.<module>``; their scale is folded into B. Provenance are
    JSON values: skill, seed, base model, params …; no times, no paths of a machine.
    """
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    for layer, layer_factors in sorted(factors.items()):
        scaled = layer_factors.lora_b * layer_factors.scale
        tensors[f"{layer}.lora_A.weight"] = layer_factors.lora_a.contiguous()
        tensors[f"{layer}.lora_B.weight"] = scaled.contiguous()
    header = {**_lora_config(factors), "selma": {"format": FORMAT_VERSION, **provenance}}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    write_bytes_atomic(path, save(tensors, metadata={METADATA_KEY: text}))


def read_adapter(path: Path) -> dict[str, LoraFactors]:
    """Read an adapter of the U-Net, per layer, in float32.

    The scale is alpha / rank, with alpha from ``<module>.alpha``, else from the metadata's
    `LoraConfig`, else equal to the rank.

    Raises:
        MissingDataError: there is no such file.
        RecordError: it is not a whole safetensors file.
        AdapterMismatchError: a key is not a LoRA factor of a U-Net, or half of a pair is missing.
    """
    tensors, header = _read(path)
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in sorted(tensors.items()):
        match = _KEY.fullmatch(key)
        if match is None:
            raise AdapterMismatchError(
                f"{path}: {key}: not a LoRA factor of a U-Net; expected "
                "unet.<module>.lora_A.weight or .lora_B.weight (diffusers' layout)"
            )
        parts.setdefault(match["layer"], {})[match["part"]] = tensor
    if not parts:
        raise AdapterMismatchError(f"{path}: holds no LoRA factors")
    return {layer: _layer_factors(path, layer, found, header) for layer, found in parts.items()}


def _lora_config(factors: Mapping[str, LoraFactors]) -> dict[str, Any]:
    ranks = {
        layer.removeprefix("unet."): layer_factors.rank
        for layer, layer_factors in sorted(factors.items())
    }
    usual = Counter(ranks.values()).most_common(1)[0][0]
    others = {f"^{layer}": rank for layer, rank in ranks.items() if rank != usual}
    return {
        "unet.r": usual,
        "unet.lora_alpha": usual,
        "unet.rank_pattern": others,
        "unet.alpha_pattern": others,
        "unet.target_modules": list(ranks),
    }


def _layer_factors(
    path: Path, layer: str, found: Mapping[str, "torch.Tensor"], header: Mapping[str, Any]
) -> LoraFactors:
    for part in ("lora_A.weight", "lora_B.weight"):
        if part not in found:
            raise AdapterMismatchError(
                f"{path}: {layer}: {part} is missing, its other half is there; export it again"
            )
    for part, tensor in found.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            kind = "not finite" if tensor.is_floating_point() else f"of type {tensor.dtype}"
            raise AdapterMismatchError(
                f"{path}: {layer}: {part} is {kind}; expected floating-point numbers, none of them "
                "NaN or infinite"
            )
    try:
        factors = LoraFactors(found["lora_A.weight"].float(), found["lora_B.weight"].float())
        alpha = _alpha(layer.removeprefix("unet."), found.get("alpha"), factors.rank, header)
    except AdapterMismatchError as error:
        raise AdapterMismatchError(f"{path}: {layer}: {error}") from error
    rank = factors.rank**0.5 if header.get("unet.use_rslora") else factors.rank
    return replace(factors, scale=alpha / rank)


def _alpha(
    layer: str, stored: "torch.Tensor | None", rank: int, header: Mapping[str, Any]
) -> float:
    """Find a layer's alpha: its tensor, the first pattern that fits its name, or the file's own."""
    if stored is not None:
        if stored.numel() != 1:
            raise AdapterMismatchError(f"alpha has {stored.numel()} numbers; expected one")
        return float(stored)
    patterns = header.get("unet.alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise AdapterMismatchError(f"metadata alpha_pattern is {patterns!r}; expected an object")
    alpha = header.get("unet.lora_alpha", rank)
    for pattern, own in patterns.items():
        try:
            fits = re.match(rf"(.*\.)?({pattern})$", layer)  # as peft looks a pattern up
        except re.error as error:
            raise AdapterMismatchError(
                f"metadata alpha_pattern: {pattern!r} is no pattern"
            ) from error
        if fits:
            alpha = own
            break
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise AdapterMismatchError(f"metadata alpha is {alpha!r}; expected a finite number")
    return float(alpha)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read how an adapter was made; empty for a file that selma did not write."""
    return dict(_read(path)[1].get("selma", {}))


def _read(path: Path) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise MissingDataError(f"{path}: no such file; run `dvc pull` or `dvc repro`")
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            header = json.loads((handle.metadata() or {}).get(METADATA_KEY, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise RecordError(
            f"{path}: not a whole safetensors file ({error}); what the pipeline made, `dvc pull` "
            "or `dvc repro` make anew"
        ) from error
    if not isinstance(header, dict):
        raise RecordError(f"{path}: metadata {METADATA_KEY} must be a JSON object")
    return tensors, header


def factors_of(tensors: Mapping[str, "torch.Tensor"], component: str) -> dict[str, LoraFactors]:
    """Pair up tensors named ``<module>.lora_A.weight`` and ``<module>.lora_B.weight``; scale 1.

    `component` is the network's name, ``unet``, by which the layers are then named.
    """
    suffix = ".lora_A.weight"
    layers = sorted(key.removesuffix(suffix) for key in tensors if key.endswith(suffix))
    return {
        f"{component}.{layer}": LoraFactors(
            tensors[layer + suffix], tensors[f"{layer}.lora_B.weight"]
        )
        for layer in layers
    }
