"""Foundation stage: learns the pocket world's tokenizer."""

import argparse
from pathlib import Path

from selma.runtime.params import Seed, load_section
from selma.runtime.session import run_stage


def main() -> None:
    """Write a CLIPTokenizer directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("foundation/params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    seed = load_section("seed", Seed, args.params)

    from selma.foundation.tokenizer import build_tokenizer

    build_tokenizer(seed).save_pretrained(args.out)


if __name__ == "__main__":
    run_stage("train_tokenizer", main)
