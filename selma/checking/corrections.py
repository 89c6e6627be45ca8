"""What can be known to be wrong with the section `correct` before a run."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from selma.checking.searches import Problems
from selma.core.choices import choose_name
from selma.runtime.whole import Params

if TYPE_CHECKING:
    from selma.runtime.correct_params import CorrectParams


def check_corrections(root: Path, params: Params, problems: Problems) -> None:
    """Kinds are known and paths are there, for they are deps of the stage; with rounds, models."""
    from selma.correction.detectors.loading import DETECTORS
    from selma.correction.segmenters.loading import SEGMENTERS

    section = params.correct
    detector = partial(choose_name, "detector", section.detector.kind, DETECTORS)
    problems.attempt(detector, "correct.detector.kind")
    segmenter = partial(choose_name, "segmenter", section.segmenter.kind, SEGMENTERS)
    problems.attempt(segmenter, "correct.segmenter.kind")
    for key, path in _deps(section).items():
        brought = Path(path).parts[:2] == ("models", "hub") and Path(path).name in params.hub
        if not (root / path).exists() and not brought:
            problems.add(f"{key}: {path}: no such file or folder; run `dvc pull`, or put it there")
    if section.rounds:
        for key, path in _models(section).items():
            if (root / path).is_dir() and not any((root / path).rglob("*.safetensors")):
                problems.add(f"{key}: {path} holds no .safetensors; name the model's folder")


def _deps(section: "CorrectParams") -> dict[str, str]:
    parts = {name: getattr(section, name) for name in ("detector", "segmenter", "editor")}
    return {f"correct.{name}.path": part.path for name, part in parts.items()}


def _models(section: "CorrectParams") -> dict[str, str]:
    """The folders that hold a model, by their keys."""
    from selma.correction.segmenters.loading import WITHOUT_MODEL

    paths = _deps(section)
    if section.segmenter.kind in WITHOUT_MODEL:
        del paths["correct.segmenter.path"]
    if section.editor.kind == "latent" and section.editor.refiner is not None:
        paths["correct.editor.refiner.path"] = section.editor.refiner.path
    return paths
