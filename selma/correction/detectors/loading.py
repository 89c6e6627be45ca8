"""Detectors by name; each is loaded only when it is chosen."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.correction.detectors.protocol import Detector

Loader = Callable[..., Detector]


def _from(module: str, function: str) -> Loader:
    """Load a detector by a function of a module that is imported only then."""

    def load(path: Path, **options: Any) -> Detector:
        found = getattr(import_module(f"selma.correction.detectors.{module}"), function)
        detector: Detector = found(path, **options)
        return detector

    return load


DETECTORS: dict[str, Loader] = {
    "grounding_dino": _from("grounding_dino", "load_grounding_dino"),
    "owlv2": _from("owlv2", "load_owlv2"),
    "pocket": _from("pocket", "load_pocket"),
    "sam3": _from("sam3", "load_sam3"),
}


def load_detector(kind: str, path: Path, *, dtype: str, device: str, batch_size: int) -> Detector:
    """Load a detector of `DETECTORS` from a folder of transformers, safetensors only.

    Args:
        kind: its name.
        path: config.json, weights, tokenizer and image processor; of one without weights, its code.
        dtype: of its weights, one of `selma.core.devices.DTYPES`.
        device: one of `selma.core.devices.DEVICES`.
        batch_size: how many pictures (SAM 3: queries) it looks at together.

    Raises:
        ConfigError: there is no such kind, dtype or device, or `batch_size` is below 1.
        MissingDataError: the folder or one of its files is not there.
        RecordError: its files are of another model, pickled, damaged or incomplete.
    """
    loader = choose("detector", kind, DETECTORS)
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    return loader(path, dtype=dtype, device=device, batch_size=batch_size)
