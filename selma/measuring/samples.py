"""The pictures of a benchmark, from a table or a folder, looked at one by one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.tables import read_table
from selma.pictures.checks import PictureSet, check_table
from selma.pictures.folder import read_pictures

Row = Mapping[str, Any]


def read_samples(
    path: Path, benchmark: Sequence[Row], *, only_asked: bool, allow_partial: bool
) -> PictureSet:
    """Read a samples table, or a folder of pictures, of a benchmark, and look at each picture.

    Args:
        path: a .parquet table or a folder.
        benchmark: rows of the benchmark table.
        only_asked: items without questions need no picture.
        allow_partial: leave out what is wrong, instead of refusing.

    Raises:
        MissingDataError: pictures are missing.
        RecordError: pictures are doubled, alike, black, unreadable or of no item.
    """
    if path.suffix == ".parquet":
        samples = read_table(path, "samples")
        return check_table(
            str(path), samples, benchmark, only_asked=only_asked, allow_partial=allow_partial
        )
    return read_pictures(path, benchmark, only_asked=only_asked, allow_partial=allow_partial)
