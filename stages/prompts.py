"""Has an LLM write one skill's prompts and keeps the new ones."""

from dataclasses import asdict
from pathlib import Path

from selma.benchmarks.folder import benchmark_files
from selma.core.files import write_json
from selma.core.tables import read_table, write_table
from selma.llm.cache import CachedGenerator
from selma.llm.generators import make_generator
from selma.prompts.skills import read_skill
from selma.prompts.writing import REQUEST_VERSION, write_prompts
from selma.runtime.arguments import stage_arguments
from selma.runtime.journal import journal
from selma.runtime.params import PromptsParams, Seed, load_section, load_skill_section
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work


def main(argv: list[str] | None = None) -> None:
    """Write the prompts table of one skill; no prompt of a benchmark gets into it."""
    args = stage_arguments(
        argv, __doc__, skill=str, instructions=Path, benchmarks=[Path], out=Path, metrics=Path
    )
    params = load_skill_section("prompts", PromptsParams, args.skill, args.params)
    seed = load_section("seed", Seed, args.params)
    spec = read_skill(args.instructions).model_copy(update={"skill": args.skill})
    benchmark_prompts = {
        f"{path.stem}/{row['item_id']}": row["prompt"]
        for path in benchmark_files(args.benchmarks)
        for row in read_table(path, "benchmark")
    }
    llm = params.model_dump(include={"backend", "model", "revision", "temperature"})
    limits = params.model_dump(exclude=set(llm))
    journal({"event": "params", "values": params.model_dump()})
    # The limits are left out: after raising max_requests the replies already paid for are used.
    settings = {**llm, "seed": seed}
    with resumable_work(
        f"prompts-{args.skill}",
        [args.instructions],
        settings,
        total=params.per_skill,
        what="prompts",
    ) as (work, advance):
        written = write_prompts(
            spec,
            CachedGenerator(make_generator(**llm), work / "replies.jsonl", llm),
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
