"""Searches the weights of a merge that score best on a dev split, and writes that merge."""

import logging
from pathlib import Path
from typing import Any

from selma.adapters.files import read_adapter
from selma.core.devices import prepare_device
from selma.core.files import write_json
from selma.core.tables import content_hash, read_table
from selma.diffusion.loading import load_backbone
from selma.judges.loading import WITHOUT_WEIGHTS, load_judge, row_settings
from selma.measuring.dev_scores import DevSplit
from selma.measuring.search_checks import check_search
from selma.measuring.searching import Settings, Trial, as_facts, best, in_words, search
from selma.merging.certificate import headline
from selma.merging.merge import Settings as MergeSettings
from selma.merging.merge import merge
from selma.merging.merge_files import merge_files
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.journal import journal
from selma.runtime.params import laid_over, load_row, load_section
from selma.runtime.progress import progress
from selma.runtime.search_params import SearchParams
from selma.runtime.sections import BackboneParams, ImagesParams, JudgeParams, Seed
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Try as many merges as the row says; a search that was killed goes on where it was."""
    args = stage_arguments(
        argv, __doc__, search=str, experts=Path, dev=Path, out=Path, certificate=Path, metrics=Path
    )  # fmt: skip
    row = load_row("searches", args.search, SearchParams, args.params)
    drawing = laid_over("samples", ImagesParams, row.samples, args.params).model_dump()
    judge = load_row("judges", row.judge, JudgeParams, args.params)
    base = load_section("backbone", BackboneParams, args.params)
    seed = load_section("seed", Seed, args.params)
    machine = prepare_machine(args.params)
    ranges = {name: one.model_dump() for name, one in row.searched().items()}

    def settings_of(tried: Settings) -> MergeSettings:
        return MergeSettings(**row.merge(tried), seed=seed)

    check_search(f"searches.{args.search}", ranges, row.plain(), settings_of, row.sampler)
    files = {skill: args.experts / f"{skill}.safetensors" for skill in sorted(row.skills)}
    rows = read_table(args.dev, "benchmark")
    own = [] if judge.kind in WITHOUT_WEIGHTS else [Path(judge.path)]
    inputs = [*files.values(), args.dev, Path(base.path), *own]
    settings = {"seed": seed, **machine, "search": row.model_dump(), "samples": drawing}
    settings |= {"judge": judge.model_dump(), **base.model_dump()}
    with (
        workspace(f"search-{args.search}", inputs, settings) as work,
        progress(row.evaluations, "evaluations") as advance,
    ):
        device = prepare_device()
        backbone = load_backbone(base.path, base.dtype, device)
        experts = {skill: read_adapter(path) for skill, path in files.items()}
        split = dev_split(args.dev.stem, rows, seed, drawing, row, judge, work / "replies.jsonl")

        def score(number: int, tried: Settings) -> float:
            adapter = merge(experts, settings_of(tried), device).adapter
            return split.score(adapter, backbone, f"trial {number}", work / f"trial-{number:05d}")

        def note(trial: Trial) -> None:
            for name, value in {"dev_score": trial.score, **trial.settings}.items():
                event = {"name": name, "step": trial.number, "value": value}
                journal({"event": "metric", **event})
            advance(1, f"{trial.score:.2f}")

        trials = search(
            score, ranges, sampler=row.sampler, evaluations=row.evaluations, seed=seed,
            first=row.plain(), log=work / "trials.jsonl", on_trial=note,
        )  # fmt: skip
        found = merge_files(
            files, args.out, settings_of(best(trials).settings),
            certificate=args.certificate, device=device,
        )  # fmt: skip
        split_facts = {"name": args.dev.stem, "sha256": content_hash(rows, "benchmark")}
        facts = {"dev_split": {**split_facts, "prompts": len(rows)}}
        facts["merge"] = headline(found)
        write_json(args.metrics, {**as_facts(trials), **facts, "sampler": row.sampler})
    logger.info(
        "%s: %.2f on the dev split with equal weights, %.2f with %s",
        args.search, trials[0].score, best(trials).score, in_words(best(trials).settings),
    )  # fmt: skip


def dev_split(
    name: str, rows: list[dict[str, Any]], seed: int, drawing: dict[str, Any], row: SearchParams,
    judge: JudgeParams, replies: Path,
) -> DevSplit:  # fmt: skip
    """Load the judge, once for all trials; what a paid one says is kept in `replies`."""
    settings = row_settings(judge.model_dump(), template=row.template)
    scoring = row.measure.model_dump(exclude={"kind", "path", "no_answer_max"})
    if row.measure.kind == "tifa":
        scoring["sbert_path"] = row.measure.path
    return DevSplit(
        name, rows, seed, drawing, load_judge(judge.kind, settings, replies), judge.kind, settings,
        asking={"revision": judge.revision or "", "normalise": judge.normalise,
                "batch_size": judge.batch_size},
        measure=row.measure.kind, scoring=scoring, no_answer_max=row.measure.no_answer_max,
    )  # fmt: skip


if __name__ == "__main__":
    run_stage("search", main)
