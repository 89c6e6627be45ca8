"""Has a skill's training pictures drawn, or takes those of a source that has its own."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selma.adapters.files import read_updates
from selma.core.devices import prepare_device
from selma.core.errors import MissingDataError
from selma.core.files import read_json, write_json
from selma.core.tables import read_table, write_table
from selma.diffusion.drawing import draw
from selma.diffusion.loading import LIBRARIES, add_updates, load_backbone
from selma.diffusion.requests import as_images
from selma.pictures.png import count_black
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.params import load_section, load_skill_section
from selma.runtime.progress import in_words
from selma.runtime.sections import BackboneParams, Seed, TrainingImagesParams
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Draw pictures of a skill's prompts, or of its captions, as the source says."""
    args = stage_arguments(
        argv, __doc__, skill=str, prompts=Path, source=Path, out=Path, metrics=Path
    )
    source = read_json(args.source / "row.json")["row"]
    truth = true_pictures(args.source, args.skill, source) if "pictures" in source else []
    if truth and source["pictures"] == "truth":
        write_json(args.metrics, {"pictures": len(truth), "black_images": count_black(truth)})
        write_table(args.out, "images", truth)
        return
    params = load_skill_section("images", TrainingImagesParams, args.skill, args.params)
    drawing = params.model_dump(exclude={"source"})
    drawing["per_prompt"] = source.get("candidates", params.per_prompt)
    model = load_section("backbone", BackboneParams, args.params).model_dump()
    if source["kind"] == "backbone":
        model = {name: source[name] for name in model}
    machine = prepare_machine(args.params)
    seed = load_section("seed", Seed, args.params)
    rows = truth or read_table(args.prompts, "prompts")
    prompts = {row["prompt_id"]: row["prompt"] for row in rows}
    adapter = Path(source["path"]) if source["kind"] == "adapter" else None
    with resumable_work(
        f"images-{args.skill}",
        [args.prompts, args.source, Path(model["path"]), *([adapter] if adapter else [])],
        {"seed": seed, **machine, **drawing, **model},
        total=len(prompts) * drawing["per_prompt"], what="pictures", libraries=LIBRARIES,
    ) as (work, advance):  # fmt: skip
        backbone = load_backbone(model["path"], model["dtype"], prepare_device())
        if adapter is not None:
            add_updates(backbone.components, read_updates(adapter), str(adapter))
        names = ("images", args.skill)
        drawn = draw(
            prompts, backbone, names=names, seed=seed, directory=work, advance=advance, **drawing
        )
        write_json(args.metrics, drawn.counts)
        write_table(args.out, "images", as_images(drawn.rows))
    logger.info(in_words(drawn.counts))


def true_pictures(folder: Path, skill: str, source: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read what the source has of a skill."""
    path = folder / f"{skill}.parquet"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.parquet")))
        raise MissingDataError(
            f"{source['path']}: has no pictures of the skill {skill}; there are: {known}"
        )
    return read_table(path, "images")


if __name__ == "__main__":
    run_stage("images", main)
