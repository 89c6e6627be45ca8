"""safetensors files: read with an error in one line, written with bytes that content decides.

The header is JSON with its keys sorted; the safetensors package writes metadata in the order of a
hash table, which differs from process to process.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.errors import MissingDataError, RecordError, one_line
from selma.core.files import written_whole

if TYPE_CHECKING:
    import torch

METADATA = "__metadata__"
_ALIGNMENT = 8
_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}


def read_container(path: Path) -> tuple[dict[str, "torch.Tensor"], dict[str, str]]:
    """Read tensors, mapped into memory, and metadata.

    Raises:
        MissingDataError: there is no such file.
        RecordError: it is not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    _check_there(path)
    try:
        with safe_open(path, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            return tensors, dict(handle.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _not_whole(path, error) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata alone; errors as `read_container`."""
    from safetensors import SafetensorError, safe_open

    _check_there(path)
    try:
        with safe_open(path, framework="pt") as handle:
            return dict(handle.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _not_whole(path, error) from error


def json_object(metadata: Mapping[str, str], key: str, path: Path) -> dict[str, Any]:
    """Read a JSON object out of the metadata, empty if there is none.

    RecordError if it is not, or if a number in it is NaN or infinite, which JSON cannot say again.
    """
    try:
        value = json.loads(metadata.get(key, "{}"), parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: metadata {key} must be a JSON object ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path}: metadata {key} must be a JSON object")
    return value


def body_hash(tensors: Mapping[str, "torch.Tensor"]) -> str:
    """Compute SHA-256 over the tensors' bytes in the order in which they are written."""
    digest = hashlib.sha256()
    for name in _order(tensors):
        digest.update(_bytes(tensors[name]))
    return digest.hexdigest()


def write_container(
    path: Path, tensors: Mapping[str, "torch.Tensor"], metadata: Mapping[str, str]
) -> None:
    """Write a file, whole or not at all."""
    header: dict[str, Any] = {METADATA: dict(metadata)}
    end = 0
    for name in _order(tensors):
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[str(tensor.dtype).removeprefix("torch.")],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with written_whole(path) as part, part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in _order(tensors):
            file.write(_bytes(tensors[name]))


def _order(tensors: Mapping[str, "torch.Tensor"]) -> list[str]:
    """Wider numbers first, so that each tensor starts at a multiple of its numbers' size."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _bytes(tensor: "torch.Tensor") -> Any:
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no finite number")
    return value


def _check_there(path: Path) -> None:
    if not path.exists():
        raise MissingDataError(f"{path}: no such file; run `dvc pull` or `dvc repro`")


def _not_whole(path: Path, error: Exception) -> RecordError:
    if path.suffix in (".ckpt", ".pt", ".pth", ".bin"):
        advice = "a pickle can run code and is not read; convert it to safetensors"
    else:
        advice = "what the pipeline made, `dvc pull` or `dvc repro` make anew"
    return RecordError(f"{path}: not a whole safetensors file ({one_line(error)}); {advice}")
