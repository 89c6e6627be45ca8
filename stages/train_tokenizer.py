"""Foundation stage: learns the pocket world's tokenizer."""

from pathlib import Path

from selma.foundation.params import FOUNDATION_PATH
from selma.foundation.tokenizer import build_tokenizer
from selma.runtime.arguments import stage_arguments
from selma.runtime.params import load_section
from selma.runtime.sections import Seed
from selma.runtime.session import run_stage


def main(argv: list[str] | None = None) -> None:
    """Write a CLIPTokenizer directory."""
    args = stage_arguments(argv, __doc__, params=FOUNDATION_PATH, out=Path)
    build_tokenizer(load_section("seed", Seed, args.params)).save_pretrained(args.out)


if __name__ == "__main__":
    run_stage("train_tokenizer", main)
