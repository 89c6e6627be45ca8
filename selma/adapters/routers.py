"""Reads and writes routers: experts that stay apart, with a gate for each layer, in one file.

Tensors are ``<layer>.<expert>.lora_A.weight`` (r, in) and ``….lora_B.weight`` (out, r), of scale 1,
and ``<layer>.gate.weight`` (experts, in), float32; a layer is ``unet.<module>``. The one metadata
key is JSON: the experts in the order of the gates' rows, top_k, and how the router was made.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import Adapter
from selma.core.errors import AdapterMismatchError, MissingDataError, RecordError
from selma.core.files import write_bytes_atomic

if TYPE_CHECKING:
    import torch

ROUTER_KEY = "selma_router"
FORMAT_VERSION = 1
_KEY = re.compile(r"(?P<layer>.+?)\.(?:(?P<expert>[^.]+)\.(?P<part>lora_[AB])|gate)\.weight")
Factors = tuple["torch.Tensor", "torch.Tensor"]  # A (r, in), B (out, r): ΔW = B A


@dataclass(frozen=True)
class Router:
    """Experts and the gates that weigh them; an expert may lack a layer."""

    experts: Sequence[str]  # in the order of the gates' rows
    layers: Mapping[str, Mapping[str, Factors]]  # layer → expert → factors, with scale 1
    gates: Mapping[str, "torch.Tensor"]  # by layer, (experts, in), float32
    top_k: int
    provenance: Mapping[str, Any]


def by_layer(experts: Mapping[str, Adapter]) -> dict[str, dict[str, Factors]]:
    """Turn adapters by name into factors by layer and name, with scale 1 and in float32.

    AdapterMismatchError if a layer is a convolution.
    """
    layers: dict[str, dict[str, Factors]] = {}
    for expert, adapter in experts.items():
        for layer, factors in adapter.items():
            if factors.kernel is not None:
                raise AdapterMismatchError(
                    f"{layer}: is a convolution in expert {expert!r}; a router's layers are "
                    "linear: merge these experts instead"
                )
            scaled = factors.lora_b.float() * factors.scale
            layers.setdefault(layer, {})[expert] = (factors.lora_a.float(), scaled)
    return layers


def write_router(path: Path, router: Router) -> None:
    """Write a router, whole or not at all; the bytes depend on the arguments only.

    Factors that half precision holds without loss are written in it.
    """
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    for layer, experts in router.layers.items():
        for expert, factors in experts.items():
            for part, tensor in zip("AB", factors, strict=True):
                tensors[f"{layer}.{expert}.lora_{part}.weight"] = _small(tensor)
    tensors |= {f"{layer}.gate.weight": gate.float() for layer, gate in router.gates.items()}
    header = {
        **router.provenance, "format": FORMAT_VERSION, "experts": list(router.experts),
        "top_k": router.top_k,
    }  # fmt: skip
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    write_bytes_atomic(path, save(ordered, metadata={ROUTER_KEY: text}))


def _small(tensor: "torch.Tensor") -> "torch.Tensor":
    half = tensor.half()
    return half if half.to(tensor.dtype).equal(tensor) else tensor


def is_router(path: Path) -> bool:
    """Whether a file is a router, by its metadata; False for what is no safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            return ROUTER_KEY in (handle.metadata() or {})
    except (SafetensorError, OSError):
        return False


def read_router(path: Path) -> Router:
    """Read a router, in float32.

    Raises:
        MissingDataError: there is no such file.
        RecordError: it is not a whole safetensors file, or no router.
        AdapterMismatchError: a key is unknown, half of a pair is missing, or a number not finite.
    """
    tensors, header = _read(path)
    layers: dict[str, dict[str, dict[str, torch.Tensor]]] = {}
    gates: dict[str, torch.Tensor] = {}
    for key, tensor in sorted(tensors.items()):
        match = _KEY.fullmatch(key)
        if match is None or match["expert"] not in (None, *header["experts"]):
            raise AdapterMismatchError(f"{path}: {key}: is no part of a router; write it again")
        if not tensor.isfinite().all():
            raise AdapterMismatchError(f"{path}: {key}: holds numbers that are not finite")
        if match["expert"] is None:
            gates[match["layer"]] = tensor.float()
        else:
            found = layers.setdefault(match["layer"], {}).setdefault(match["expert"], {})
            found[match["part"]] = tensor.float()
    for layer in sorted({*layers, *gates}):
        halves = [len(found) != 2 for found in layers.get(layer, {}).values()]
        if layer not in layers or layer not in gates or any(halves):
            raise AdapterMismatchError(
                f"{path}: {layer}: needs a gate and both factors of each expert; write it again"
            )
    pairs = {
        layer: {name: (found["lora_A"], found["lora_B"]) for name, found in experts.items()}
        for layer, experts in layers.items()
    }
    return Router(header.pop("experts"), pairs, gates, header.pop("top_k"), header)


def _read(path: Path) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise MissingDataError(f"{path}: no such file; run `dvc pull` or `dvc repro`")
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            header = json.loads((handle.metadata() or {})[ROUTER_KEY])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RecordError(
            f"{path}: not a whole router file ({error}); what the pipeline made, `dvc pull` or "
            "`dvc repro` make anew"
        ) from error
    whole = isinstance(header, dict) and header.get("format") == FORMAT_VERSION
    if not (whole and header.get("experts") and isinstance(header.get("top_k"), int)):
        raise RecordError(f"{path}: metadata {ROUTER_KEY} is not of format {FORMAT_VERSION}")
    return tensors, header
