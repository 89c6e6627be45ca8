"""Scores a model's pictures by a preference model: PickScore, ImageReward, HPS or CLIPScore."""

import logging
from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.tables import read_table, write_table
from selma.measuring.preferring import load_scorer, score_pictures
from selma.measuring.samples import read_samples
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.params import load_row
from selma.runtime.sections import PreferenceParams
from selma.runtime.session import run_stage
from selma.runtime.workspace import resumable_work

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Score each picture against its prompt."""
    args = stage_arguments(
        argv, __doc__, preference=str, model=str, benchmarks=Path, samples=Path, out=Path
    )
    row = load_row("preferences", args.preference, PreferenceParams, args.params)
    machine = prepare_machine(args.params)
    file = f"{row.benchmark}.parquet"
    table, samples, weights = args.benchmarks / file, args.samples / file, Path(row.path)
    benchmark = read_table(table, "benchmark")
    pictures = read_samples(samples, benchmark, only_asked=False, allow_partial=False)
    with resumable_work(
        f"preferences-{args.preference}-{args.model}",
        [table, samples, weights],
        {**row.model_dump(), **machine},
        total=len(pictures.rows),
        what="pictures",
        libraries=["transformers.models.clip.modeling_clip"],
    ) as (work, advance):
        scorer = load_scorer(
            row.kind,
            weights,
            version=row.version,
            antialias=row.antialias,
            device=prepare_device(),
        )
        scores, about = score_pictures(
            benchmark,
            pictures,
            scorer,
            kind=row.kind,
            judge=row.path,
            measure=args.preference,
            title=row.title,
            benchmark_name=row.benchmark,
            batch_size=row.batch_size,
            directory=work,
            advance=advance,
        )
        write_table(args.out, "scores", scores, about)
    mean = sum(row["score"] for row in scores) / len(scores)
    logger.info("mean %.4f of %d pictures", mean, len(scores))


if __name__ == "__main__":
    run_stage("preferences", main)
