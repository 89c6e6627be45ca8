"""Trains one skill's expert: a LoRA adapter on the model's own pictures of that skill."""

import argparse
from pathlib import Path

from selma.core.tables import read_table
from selma.runtime.params import (
    PARAMS_PATH,
    BackboneParams,
    LoraParams,
    load_section,
    load_skill_section,
    load_value,
)
from selma.runtime.session import run_stage
from selma.training.stage import train_adapter


def main(argv: list[str] | None = None) -> None:
    """Train on the pictures of a skill and write the adapter and its loss curve."""
    parser = argparse.ArgumentParser(prog="python -m stages.lora", description=__doc__)
    parser.add_argument("--skill", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--curve", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=PARAMS_PATH)
    args = parser.parse_args(argv)
    train_adapter(
        read_table(args.images, "images"),
        [args.images],
        name=args.skill,
        lora=load_skill_section("lora", LoraParams, args.skill, args.params),
        model=load_section("backbone", BackboneParams, args.params),
        seed=load_value("seed", args.params),
        threads=load_value("threads", args.params),
        out=args.out,
        curve=args.curve,
    )


if __name__ == "__main__":
    run_stage("lora", main)
