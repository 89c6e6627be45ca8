"""Foundation stage: trains a preference scorer: PickScore, HPS or ImageReward."""

from pathlib import Path

from selma.foundation.params import FOUNDATION_PATH, ScorerParams, read_plan
from selma.foundation.scorer_files import make_scorer
from selma.runtime.arguments import stage_arguments
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main(argv: list[str] | None = None) -> None:
    """Write the scorer's directory, its accuracy on held-out pairs and its loss curve."""
    paths = dict.fromkeys(("tokenizer", "out", "metrics", "curve"), Path)
    args = stage_arguments(
        argv, __doc__, params=FOUNDATION_PATH, scorer=str, benchmarks=[Path], **paths
    )
    plan, seed, settings = read_plan(args.scorer, ScorerParams, args.params)
    with workspace(f"train_{args.scorer}", [args.tokenizer, *args.benchmarks], settings) as work:
        make_scorer(
            args.scorer,
            tokenizer_path=args.tokenizer,
            benchmarks=args.benchmarks,
            out=args.out,
            metrics=args.metrics,
            curve=args.curve,
            plan=plan,
            seed=seed,
            work=work,
        )


if __name__ == "__main__":
    run_stage("train_scorer", main)
