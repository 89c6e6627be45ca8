"""Has an LLM write one skill's prompts and keeps the new ones."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selma.benchmarks.folder import benchmark_files
from selma.core.files import write_bytes_atomic, write_json
from selma.core.tables import read_table, write_table
from selma.llm.budget import LEDGER
from selma.llm.generators import FREE, LlmOptions, RecordedLlm, kept_replies, make_answer
from selma.llm.prices import find_price
from selma.llm.transcript import as_rows
from selma.prompts.asking import REQUEST_VERSION, foreseen_tokens
from selma.prompts.coverage import compare, coverage, lopsided, plot_csv
from selma.prompts.skills import SkillSpec, read_skill
from selma.prompts.writing import write_prompts
from selma.runtime.arguments import stage_arguments
from selma.runtime.journal import journal, root
from selma.runtime.params import load_section, load_skill_section
from selma.runtime.released import released_table
from selma.runtime.sections import LlmParams, PromptsParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Write the prompts table of one skill; no prompt of a benchmark gets into it."""
    args = stage_arguments(
        argv, __doc__, skill=str, instructions=Path, benchmarks=[Path], out=Path,
        transcript=Path, metrics=Path, coverage=Path, plot=Path,
    )  # fmt: skip
    params = load_skill_section("prompts", PromptsParams, args.skill, args.params).model_dump()
    llm = LlmOptions(**load_section("llm", LlmParams, args.params).model_dump())
    seed = load_section("seed", Seed, args.params)
    spec = read_skill(args.instructions).model_copy(update={"skill": args.skill})
    benchmarks = {
        path.stem: {row["item_id"]: row["prompt"] for row in read_table(path, "benchmark")}
        for path in benchmark_files(args.benchmarks)
    }
    benchmark_prompts = {
        f"{name}/{item_id}": prompt
        for name, prompts in benchmarks.items()
        for item_id, prompt in prompts.items()
    }
    answer = make_answer(llm, root() / LEDGER)
    journal({"event": "params", "values": {**params, "llm": asdict(llm)}})
    with resumable_work(
        f"prompts-{args.skill}", [args.instructions], {"seed": seed},
        total=params["per_skill"], what="prompts",
    ) as (work, advance):  # fmt: skip
        said = kept_replies(llm, work, root(), args.transcript, released_table)
        recorded = RecordedLlm(llm, answer, said)
        written = write_prompts(
            spec, recorded, **params, json=llm.reply_format == "json_schema", seed=seed,
            benchmark_prompts=benchmark_prompts, on_kept=advance,
        )  # fmt: skip
        versions = {"request_version": REQUEST_VERSION, "skill_version": spec.version}
        nearness = sum(row["rouge_l"] for row in written.rows) / len(written.rows)
        counts = {**asdict(written.counts), **versions, **costs(recorded, llm, spec, params)}
        write_table(args.out, "prompts", written.rows)
        write_table(args.transcript, "transcript", as_rows(recorded.used))
        write_json(args.metrics, {**counts, "mean_rouge_l": nearness})
        texts = [row["prompt"] for row in written.rows]
        write_coverage(args.skill, texts, benchmarks, args.coverage, args.plot)


def costs(recorded: RecordedLlm, llm: LlmOptions, spec: SkillSpec, params: Any) -> dict[str, float]:
    """What the replies took and were estimated to take; brings it to the journal."""
    found = recorded.usage()
    price = None if llm.backend in FREE else find_price(llm.model, llm.base_url, llm.price)
    if price is not None:
        names = ("per_skill", "per_request", "examples_per_request")
        as_json = llm.reply_format == "json_schema"
        tokens = foreseen_tokens(spec, **{n: params[n] for n in names}, json=as_json)
        found["llm_usd_estimated"] = price.usd(*tokens)
        journal({"event": "params", "values": {"llm_price": price.source}})
    for name, value in found.items():
        journal({"event": "metric", "name": name, "step": 0, "value": value})
    return found


def write_coverage(
    skill: str, prompts: list[str], benchmarks: dict[str, dict[str, str]], out: Path, plot: Path
) -> None:
    """Write what the prompts are about beside the benchmarks', and warn of a lopsided set."""
    own = coverage(prompts)
    others = {name: coverage(list(items.values())) for name, items in benchmarks.items()}
    compared = compare(own, others)
    write_json(out, compared)
    write_bytes_atomic(plot, plot_csv(own, others).encode())
    for problem in lopsided(compared):
        logger.warning("skill %s is lopsided: %s", skill, problem)


if __name__ == "__main__":
    run_stage("prompts", main)
