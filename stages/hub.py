"""Brings a pinned revision of a model from the Hugging Face Hub."""

import logging
from pathlib import Path

from selma.core.errors import ConfigError
from selma.hub.snapshots import bring, list_files
from selma.runtime.arguments import stage_arguments
from selma.runtime.params import load_row
from selma.runtime.progress import progress
from selma.runtime.sections import HubParams
from selma.runtime.session import run_stage
from selma.runtime.workspace import workspace

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Fetch the row's files into a folder; what was broken off goes on."""
    args = stage_arguments(argv, __doc__, name=str, out=Path)
    row = load_row("hub", args.name, HubParams, args.params)
    if row.revision is None:
        open_row = f"hub.{args.name}.revision"
        raise ConfigError(f"{open_row}: is open; `selma hub pin {args.name}` fills it in")
    files = list_files(row.repo, row.revision, row.files)
    size = sum(one.size for one in files)
    with (
        workspace(f"hub-{args.name}", [], row.model_dump(), computed=False) as work,
        progress(size, "bytes") as advance,
    ):
        bring(row.repo, row.revision, files, work / "files", args.out, advance)
    logger.info("%s at %s, %.2f GB", row.repo, row.revision[:10], size / 1e9)


if __name__ == "__main__":
    run_stage("hub", main)
