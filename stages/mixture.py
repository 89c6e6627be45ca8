"""Trains one LoRA adapter on all skills' pictures: what the merged experts are compared with."""

import argparse
from pathlib import Path

from selma.core.tables import read_table
from selma.runtime.params import PARAMS_PATH, BackboneParams, load_mixture, load_section, load_value
from selma.runtime.session import run_stage
from selma.training.stage import train_adapter


def main(argv: list[str] | None = None) -> None:
    """Train on all image tables for as many steps as all experts together."""
    parser = argparse.ArgumentParser(prog="python -m stages.mixture", description=__doc__)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curve", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)
    train_adapter(
        [row for path in args.images for row in read_table(path, "images")],
        args.images,
        name="mixture",
        lora=load_mixture(len(args.images), args.params),
        model=load_section("backbone", BackboneParams, args.params),
        seed=load_value("seed", args.params),
        threads=load_value("threads", args.params),
        out=args.out,
        curve=args.curve,
    )


if __name__ == "__main__":
    run_stage("mixture", main)
