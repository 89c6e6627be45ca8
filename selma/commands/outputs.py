"""Where a command may write: never over something else than what it writes itself."""

from pathlib import Path

from selma.core.errors import ConfigError


def check_table_out(path: Path | None, kind: str) -> None:
    """Check, before any work, that a table of a kind can be written; None means no table.

    A table of the same kind, one of `selma.core.tables.KINDS`, is overwritten. ConfigError if the
    name is no table's, or something else lies there.
    """
    from selma.core.tables import is_table

    if path is None:
        return
    check_place(path)
    if path.exists() and not is_table(path, kind):
        raise ConfigError(f"{path}: is there and is no {kind} table; choose another name")


def check_place(path: Path) -> None:
    """Check that a table may have this name, and that its folder is none or a folder.

    ConfigError if it may not.
    """
    if path.suffix != ".parquet":
        raise ConfigError(f"{path}: expected a name that ends in .parquet")
    if any(parent.exists() and not parent.is_dir() for parent in path.parents):
        raise ConfigError(f"{path}: its folder is a file; choose another name")
