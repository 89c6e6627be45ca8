"""Segmenters by name; each is loaded only when it is chosen."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from selma.core.choices import choose_name
from selma.core.errors import ConfigError
from selma.correction.segmenters.flat import BoxSegmenter, ContrastSegmenter
from selma.correction.segmenters.protocol import Segmenter

Loader = Callable[..., Segmenter]


def _from(module: str, function: str) -> Loader:
    """Load a segmenter by a function of a module that is imported only then."""

    def load(path: Path, **options: Any) -> Segmenter:
        found = getattr(import_module(f"selma.correction.segmenters.{module}"), function)
        segmenter: Segmenter = found(path, **options)
        return segmenter

    return load


WITHOUT_MODEL: Mapping[str, Callable[[], Segmenter]] = {
    "box": BoxSegmenter,
    "contrast": ContrastSegmenter,
}
WITH_MODEL: Mapping[str, Loader] = {
    "sam": _from("sam", "load_sam"),
    "sam2": _from("sam2", "load_sam2"),
}
SEGMENTERS = (*WITHOUT_MODEL, *WITH_MODEL)


def load_segmenter(kind: str, path: Path | None, *, dtype: str, device: str) -> Segmenter:
    """Load a segmenter of `SEGMENTERS`.

    Args:
        kind: its name.
        path: a folder of transformers with safetensors and image processor, None for a segmenter
            without a model.
        dtype: of its weights, one of `selma.core.devices.DTYPES`.
        device: one of `selma.core.devices.DEVICES`.

    Raises:
        ConfigError: there is no such kind, dtype or device, or it wants a folder and has none, or
            has one and wants none.
        MissingDataError: the folder or one of its files is not there.
        RecordError: its files are of another model, pickled, damaged or incomplete.
    """
    if choose_name("segmenter", kind, SEGMENTERS) in WITHOUT_MODEL:
        if path is not None:
            raise ConfigError(f"segmenter {kind!r} has no model; leave its path {path} out")
        return WITHOUT_MODEL[kind]()
    if path is None:
        raise ConfigError(f"segmenter {kind!r} needs the path of its model's folder")
    return WITH_MODEL[kind](path, dtype=dtype, device=device)
