"""What DVC keeps of an output that it has taken away, because its stage runs again."""

import logging
import tempfile
from pathlib import Path
from typing import Any

from selma.core.errors import one_line
from selma.core.tables import read_table

logger = logging.getLogger(__name__)


def released_table(path: Path, kind: str) -> list[dict[str, Any]]:
    """Read a table of the repository as DVC has it, in its cache or remote.

    No rows if DVC does not know the table, or (with a warning) cannot get it.
    """
    if path.exists():
        return read_table(path, kind)
    import dvc.api
    from dvc.exceptions import DvcException, NotDvcRepoError, PathMissingError

    try:
        data = dvc.api.read(path.as_posix(), mode="rb")
    except (NotDvcRepoError, PathMissingError):
        return []
    except (DvcException, OSError) as error:
        logger.warning(
            "%s: DVC has it neither in its cache nor in a remote (%s); run `dvc pull`, or what it "
            "holds is asked for anew", path, one_line(error),
        )  # fmt: skip
        return []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(data)
        return read_table(copy, kind)
