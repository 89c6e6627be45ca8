"""Writes what a source of training pictures has: ground truth, and the row with what it names."""

from pathlib import Path
from typing import Any

from selma.benchmarks.folder import benchmark_prompts
from selma.core.files import read_json, write_json
from selma.core.fingerprints import content_sha256
from selma.core.tables import write_table
from selma.diffusion.requests import Request, as_images, picture_row
from selma.prompts.leaks import check_disjoint
from selma.runtime.arguments import stage_arguments
from selma.runtime.params import load_row, load_section
from selma.runtime.sections import Seed
from selma.runtime.session import run_stage
from selma.runtime.source_params import SourceParams
from selma.sources.truth import TRUTHS, read_truth

WITH_WEIGHTS = ("adapter", "backbone")


def main(argv: list[str] | None = None) -> None:
    """Write the row, and of ground truth a table for each skill; no caption is a benchmark's.

    What decides which of several pictures is kept goes to a file of its own, so that no picture is
    drawn again for it.
    """
    args = stage_arguments(
        argv, __doc__, source=str, benchmarks=Path, raters=Path, out=Path, best=Path
    )
    row = load_row("sources", args.source, SourceParams, args.params).model_dump()
    seed = load_section("seed", Seed, args.params)
    best_of = row.pop("best_of", None)
    if best_of is not None:
        row["candidates"] = best_of["candidates"]
        names = sorted({*best_of["thresholds"], *best_of["rank_by"]})
        best_of["raters"] = {name: read_json(args.raters / f"{name}.json") for name in names}
    content: dict[str, Any] = {"row": row}
    if row["kind"] in WITH_WEIGHTS:
        content["files"] = {row["path"]: content_sha256(Path(row["path"]))}
    truth = read_truth(row, seed=seed) if row["kind"] in TRUTHS else {}
    known = benchmark_prompts([args.benchmarks]) if truth else {}
    for skill, pairs in truth.items():
        where = f"{args.source}: {skill} of {row['path']}"
        check_disjoint(where, {pair.name: pair.caption for pair in pairs}, known)
        rows = [picture_row(Request(p.name, 0, p.caption, 0), p.picture) for p in pairs]
        write_table(args.out / f"{skill}.parquet", "images", as_images(rows))
    write_json(args.out / "row.json", content)
    write_json(args.best, best_of)


if __name__ == "__main__":
    run_stage("source", main)
