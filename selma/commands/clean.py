"""`selma clean`: lists or removes what interrupted stages left behind."""

import argparse
import re
import time
from pathlib import Path

from selma.core.errors import ConfigError

STALE_DAYS = 7
WORK_FOLDER = re.compile(r"[\w.-]+-([0-9a-f]{16})")  # STAGE-FINGERPRINT, see runtime.workspace


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("clean", help="list what interrupted stages left behind")
    command.add_argument("--days", type=float, default=STALE_DAYS, help="older than this")
    command.add_argument("--yes", action="store_true", help="remove it")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """List the stages' work folders; with --yes remove those that are stale and that no one holds.

    Nothing else below .selma/work is touched: no link is followed, no other name is removed.
    """
    from selma.runtime.journal import root

    if not args.days >= 0:
        raise ConfigError(f"--days: expected at least 0, got {args.days:g}")
    home = root() / ".selma"
    found = sorted((home / "work").glob("*"))
    for folder in found:
        match = WORK_FOLDER.fullmatch(folder.name)
        if match is None or folder.is_symlink() or not folder.is_dir():
            print(f"not selma's  {folder}")
            continue
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files) / 1e6
        newest = max(path.stat().st_mtime for path in [folder, *files])
        days = (time.time() - newest) / 86_400
        state = "kept" if days < args.days else "stale, --yes removes it"
        if days >= args.days and args.yes:
            state = "removed" if _removed(folder, home / "locks" / match[1]) else "in use"
        print(f"{state}  {days:6.1f} days  {size:8.1f} MB  {folder}")
    if not found:
        print("nothing was left behind")


def _removed(folder: Path, lock: Path) -> bool:
    """Remove a work folder unless a stage holds its lock."""
    import fcntl
    import shutil

    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder)
    return True
