"""Scores a model's pictures by PickScore: exp(logit_scale) times a cosine of CLIP features."""

import argparse
from pathlib import Path

from selma.core.devices import set_threads
from selma.measuring.scoring import score_table
from selma.runtime.params import PARAMS_PATH, ClipScorerParams, load_section, load_value
from selma.runtime.session import run_stage


def main(argv: list[str] | None = None) -> None:
    """Score each picture of the DSG benchmark against its prompt."""
    parser = argparse.ArgumentParser(prog="python -m stages.pickscore", description=__doc__)
    parser.add_argument("--model", required=True, help="whose pictures: base, merged, mixture")
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("pickscore", ClipScorerParams, args.params)
    set_threads(load_value("threads", args.params))
    score_table(
        "pickscore",
        Path("data/samples") / args.model / "pocket-dsg.parquet",
        Path("data/benchmarks/pocket-dsg.parquet"),
        Path("data/scores/pickscore") / f"{args.model}.parquet",
        directory=params.path,
        version="arXiv 2305.01569",
        batch_size=params.batch_size,
    )


if __name__ == "__main__":
    run_stage("pickscore", main)
