"""Foundation stage: trains the pocket world's HPS, a small CLIP trained on pairs."""

import argparse
from pathlib import Path

from selma.core.devices import set_threads
from selma.foundation.scorer_files import make_scorer
from selma.foundation.scorers import ScorerParams
from selma.runtime.params import load_section, load_value
from selma.runtime.session import run_stage


def main(argv: list[str] | None = None) -> None:
    """Write the scorer's directory, its accuracy on held-out pairs and its loss curve."""
    parser = argparse.ArgumentParser(prog="python -m stages.train_hps", description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("foundation/params.yaml"))
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--benchmarks", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--curve", type=Path, required=True)
    args = parser.parse_args(argv)

    threads = load_value("threads", args.params)
    set_threads(threads)
    make_scorer(
        "hps",
        tokenizer_path=args.tokenizer,
        benchmarks=args.benchmarks,
        out=args.out,
        metrics=args.metrics,
        curve=args.curve,
        params=load_section("hps", ScorerParams, args.params),
        seed=load_value("seed", args.params),
        threads=threads,
    )


if __name__ == "__main__":
    run_stage("train_hps", main)
