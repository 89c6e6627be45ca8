"""Writes down who rates for the objective, by which code, and how a training draws for it."""

from pathlib import Path
from typing import Any

from selma.core.files import read_json, write_json
from selma.core.fingerprints import content_sha256
from selma.runtime.arguments import stage_arguments
from selma.runtime.params import laid_over, load_objective
from selma.runtime.sections import TrainingImagesParams
from selma.runtime.session import run_stage


def main(argv: list[str] | None = None) -> None:
    """Write {raters, code}; code, and images, where a training itself draws and rates."""
    args = stage_arguments(argv, __doc__, raters=Path, code=[Path], out=Path)
    objective = load_objective(args.params)
    raters = {name: read_json(args.raters / f"{name}.json") for name in objective.raters}
    content: dict[str, Any] = {"raters": raters, "code": None}
    if raters and objective.pairs is None:
        content["code"] = {str(path): content_sha256(path) for path in args.code}
        drawing = laid_over("images", TrainingImagesParams, objective.images, args.params)
        content["images"] = drawing.model_dump(include={"guidance_scale", "inference_steps"})
    write_json(args.out, content)


if __name__ == "__main__":
    run_stage("objective_row", main)
