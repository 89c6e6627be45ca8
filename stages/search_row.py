"""Writes a search's row with the content of what it names, if its dev split is no benchmark's."""

from pathlib import Path

from selma.benchmarks.folder import benchmark_prompts
from selma.core.files import read_json, write_json
from selma.core.fingerprints import content_sha256
from selma.core.tables import read_table
from selma.prompts.leaks import check_disjoint
from selma.runtime.arguments import stage_arguments
from selma.runtime.params import load_row
from selma.runtime.search_params import SearchParams
from selma.runtime.session import run_stage


def main(argv: list[str] | None = None) -> None:
    """Write {row, files}; of the experts only those that the row searches count."""
    args = stage_arguments(
        argv, __doc__, search=str, experts=Path, judge=Path, dev=Path, benchmarks=Path, out=Path
    )
    row = load_row("searches", args.search, SearchParams, args.params)
    prompts = {item["item_id"]: item["prompt"] for item in read_table(args.dev, "benchmark")}
    check_disjoint(str(args.dev), prompts, benchmark_prompts([args.benchmarks]))
    experts = [args.experts / f"{skill}.safetensors" for skill in sorted(row.skills)]
    files = {str(path): content_sha256(path) for path in [*experts, args.dev]}
    write_json(
        args.out,
        {"row": row.model_dump(), "files": {**files, args.judge.stem: read_json(args.judge)}},
    )


if __name__ == "__main__":
    run_stage("search_row", main)
