"""Foundation stage: trains a preference scorer of the pocket world: PickScore, HPS, ImageReward."""

import argparse
from dataclasses import asdict
from pathlib import Path

from selma.core.devices import set_threads
from selma.foundation.params import ScorerParams
from selma.foundation.scorer_files import make_scorer
from selma.foundation.scorers import Plan
from selma.runtime.params import Seed, Threads, load_section
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace


def main(argv: list[str] | None = None) -> None:
    """Write the scorer's directory, its accuracy on held-out pairs and its loss curve."""
    parser = argparse.ArgumentParser(prog="python -m stages.train_scorer", description=__doc__)
    parser.add_argument("--scorer", required=True, help="a section of the params")
    parser.add_argument("--params", type=Path, default=Path("foundation/params.yaml"))
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--benchmarks", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--curve", type=Path, required=True)
    args = parser.parse_args(argv)

    seed, threads = (
        load_section("seed", Seed, args.params),
        load_section("threads", Threads, args.params),
    )
    set_threads(threads)
    plan = Plan(**load_section(args.scorer, ScorerParams, args.params).model_dump())
    settings = {"seed": seed, "threads": threads, **asdict(plan)}
    inputs = [args.tokenizer, *args.benchmarks]
    with workspace(f"train_{args.scorer}", inputs, settings) as work:
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
