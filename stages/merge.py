"""Merges experts into one adapter and certifies it against its method's exact target."""

import logging
from pathlib import Path

from selma.core.devices import prepare_device
from selma.core.files import write_json
from selma.merging.certificate import headline
from selma.merging.merge import Settings
from selma.merging.merge_files import merge_files
from selma.runtime.arguments import prepare_machine, stage_arguments
from selma.runtime.params import load_row, load_section
from selma.runtime.sections import MergeParams, Seed
from selma.runtime.session import run_stage

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Merge the experts that the row gives a weight; an expert's file is named by its skill."""
    args = stage_arguments(
        argv, __doc__, merge=str, experts=Path, out=Path, certificate=Path, metrics=Path
    )
    params = load_row("merges", args.merge, MergeParams, args.params)
    seed = load_section("seed", Seed, args.params)
    prepare_machine(args.params)
    files = {skill: args.experts / f"{skill}.safetensors" for skill in params.weights}
    settings = Settings(**params.model_dump(), seed=seed)
    certificate = merge_files(
        files, args.out, settings, certificate=args.certificate, device=prepare_device()
    )
    write_json(args.metrics, headline(certificate))
    logger.info(
        "%s of %d experts by %s: rank %d, relative error %.1e",
        args.merge,
        len(certificate["norm"]),
        params.method,
        certificate["rank"],
        certificate["relative_error"],
    )


if __name__ == "__main__":
    run_stage("merge", main)
