"""`selma clean`: lists or removes what interrupted stages left behind."""

import argparse
import time
from pathlib import Path

STALE_DAYS = 7


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the command."""
    command = commands.add_parser("clean", help="list what interrupted stages left behind")
    command.add_argument("--days", type=float, default=STALE_DAYS, help="older than this")
    command.add_argument("--yes", action="store_true", help="remove it")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """List the work folders; with --yes remove those that are stale."""
    from selma.runtime.journal import root

    folders = sorted((root() / ".selma" / "work").glob("*"))
    for folder in folders:
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e6
        newest = max((path.stat().st_mtime for path in [folder, *files]), default=0.0)
        days = (time.time() - newest) / 86_400
        stale = days >= args.days
        removed = stale and args.yes and _removed(folder)
        state = "removed" if removed else "stale" if stale else "kept"
        print(f"{state}  {days:6.1f} days  {size:8.1f} MB  {folder}")
    if not folders:
        print("nothing was left behind")


def _removed(folder: Path) -> bool:
    """Remove a work folder unless a stage holds its lock."""
    import fcntl
    import shutil

    lock = folder.parent.parent / "locks" / folder.name.rsplit("-", 1)[-1]
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(folder)
    return True
