"""Scores a model's pictures by HPS: 100 times the cosine of two CLIP features."""

import argparse
from pathlib import Path

from selma.core.devices import set_threads
from selma.measuring.scoring import score_table
from selma.runtime.params import PARAMS_PATH, HpsParams, load_section, load_value
from selma.runtime.session import run_stage


def main(argv: list[str] | None = None) -> None:
    """Score each picture of the DSG benchmark against its prompt."""
    parser = argparse.ArgumentParser(prog="python -m stages.hps", description=__doc__)
    parser.add_argument("--model", required=True, help="whose pictures: base, merged, mixture")
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)

    params = load_section("hps", HpsParams, args.params)
    set_threads(load_value("threads", args.params))
    score_table(
        "hps",
        Path("data/samples") / args.model / "pocket-dsg.parquet",
        Path("data/benchmarks/pocket-dsg.parquet"),
        Path("data/scores/hps") / f"{args.model}.parquet",
        directory=params.path,
        version=params.version,
        batch_size=params.batch_size,
        antialias=params.antialias,
    )


if __name__ == "__main__":
    run_stage("hps", main)
