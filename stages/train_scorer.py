"""Foundation stage: trains a preference scorer: PickScore, HPS or ImageReward."""

from dataclasses import asdict
from pathlib import Path

from selma.core.files import write_curve, write_json
from selma.foundation.params import FOUNDATION_PATH, ScorerParams, read_plan
from selma.foundation.scorer_files import make_scorer, read_refused, read_tokenizer, save_scorer
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
        tokenizer, refused = read_tokenizer(args.tokenizer), read_refused(args.benchmarks)
        scorer, accuracies, losses = make_scorer(
            args.scorer, tokenizer, refused, plan, seed=seed, work=work
        )
        save_scorer(scorer, tokenizer, args.out)
        write_json(args.metrics, {kind: asdict(value) for kind, value in accuracies.items()})
        write_curve(args.curve, {"loss": losses})


if __name__ == "__main__":
    run_stage("train_scorer", main)
