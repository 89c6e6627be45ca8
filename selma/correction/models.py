"""Loads the models that correct pictures: detector, segmenter, editor, each by its settings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selma.core.choices import choose
from selma.correction.detectors.protocol import Detector
from selma.correction.editors.protocol import Editor
from selma.correction.segmenters.loading import WITHOUT_MODEL, load_segmenter

if TYPE_CHECKING:
    from selma.correction.editors.inpaint.settings import InpaintSettings
    from selma.correction.editors.latent.settings import LatentSettings

Settings = Mapping[str, Any]


def weights_of(detector: Settings, segmenter: Settings, editor: Settings) -> list[Path]:
    """List the folders and files whose content decides what the models do."""
    paths = [detector["path"], editor["path"], editor["adapter"]]
    if segmenter["kind"] not in WITHOUT_MODEL:
        paths.append(segmenter["path"])
    if editor.get("refiner"):
        paths.append(editor["refiner"]["path"])
    return [Path(path) for path in paths if path is not None]


def load_detector_by(settings: Settings, *, device: str) -> Detector:
    """Load a detector by its kind, path, dtype and batch_size."""
    from selma.correction.detectors.loading import load_detector

    return load_detector(
        settings["kind"], Path(settings["path"]), dtype=settings["dtype"], device=device,
        batch_size=settings["batch_size"],
    )  # fmt: skip


def load_editor_by(segmenter: Settings, editor: Settings, *, device: str) -> Editor:
    """Load an editor, and the segmenter that it works with, by their settings."""
    from selma.correction.editors.loading import load_editor

    kind, own = segmenter["kind"], segmenter["path"]
    path = None if kind in WITHOUT_MODEL else Path(own)
    finder = load_segmenter(kind, path, dtype=segmenter["dtype"], device=device)
    return load_editor(editor_settings(editor), finder, device=device)


def editor_settings(values: Settings) -> "LatentSettings | InpaintSettings":
    """Make an editor's settings from plain values, with its `kind`.

    Raises:
        ConfigError: there is no such kind.
    """
    own = {name: value for name, value in values.items() if name != "kind"}
    kinds: dict[str, Callable[[dict[str, Any]], LatentSettings | InpaintSettings]] = {
        "latent": _latent, "inpaint": _inpaint,
    }  # fmt: skip
    return choose("editor", values["kind"], kinds)(own)


def _latent(values: dict[str, Any]) -> "LatentSettings":
    from selma.correction.editors.latent.settings import (
        AttentionGuidance,
        LatentSettings,
        RefinerSettings,
    )

    refiner = values.pop("refiner")
    attention = AttentionGuidance(**values.pop("attention"))
    return LatentSettings(
        **values, attention=attention, refiner=refiner and RefinerSettings(**refiner)
    )


def _inpaint(values: dict[str, Any]) -> "InpaintSettings":
    from selma.correction.editors.inpaint.settings import InpaintSettings

    return InpaintSettings(**values)
