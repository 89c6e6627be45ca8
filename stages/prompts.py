"""Has an LLM write one skill's prompts and keeps the new ones."""

import argparse
from dataclasses import asdict
from pathlib import Path

from selma.benchmarks.folder import benchmark_files
from selma.core.files import write_json
from selma.core.tables import read_table, write_table
from selma.llm.cache import CachedGenerator
from selma.llm.generators import make_generator
from selma.prompts.requests import REQUEST_VERSION
from selma.prompts.skills import read_skill
from selma.prompts.writing import write_prompts
from selma.runtime.journal import journal
from selma.runtime.params import PARAMS_PATH, PromptsParams, load_skill_section, load_value
from selma.runtime.progress import progress
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main(argv: list[str] | None = None) -> None:
    """Write the prompts table of one skill."""
    parser = argparse.ArgumentParser(prog="python -m stages.prompts", description=__doc__)
    parser.add_argument("--skill", required=True)
    parser.add_argument("--skills", type=Path, default=Path("data/skills"), help="folder")
    parser.add_argument(
        "--benchmarks", type=Path, nargs="*", default=[], help="tables, or folders of tables"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_skill_section("prompts", PromptsParams, args.skill, args.params)
    seed = load_value("seed", args.params)
    skill_path = args.skills / f"{args.skill}.yaml"
    spec = read_skill(skill_path)
    benchmark_prompts = {
        f"{path.stem}/{row['item_id']}": row["prompt"]
        for path in benchmark_files(args.benchmarks)
        for row in read_table(path, "benchmark")
    }
    llm = params.model_dump(include={"backend", "model", "revision", "temperature"})
    generator = make_generator(**llm)
    limits = params.model_dump(exclude=set(llm))
    journal({"event": "params", "values": params.model_dump()})
    # The limits are left out: after raising max_requests the replies already paid for are used.
    with workspace(f"prompts-{args.skill}", [skill_path], {**llm, "seed": seed}) as work:
        cached = CachedGenerator(generator, work / "replies.jsonl", llm)
        with progress(params.per_skill, f"prompts {args.skill}") as advance:
            written = write_prompts(
                spec,
                cached,
                **limits,
                seed=seed,
                benchmark_prompts=benchmark_prompts,
                on_kept=advance,
            )
        versions = {"request_version": REQUEST_VERSION, "skill_version": spec.version}
        nearness = sum(row["rouge_l"] for row in written.rows) / len(written.rows)
        write_table(args.out, "prompts", written.rows)
        write_json(args.metrics, {**asdict(written.counts), **versions, "mean_rouge_l": nearness})


if __name__ == "__main__":
    run_stage("prompts", main)
