"""A clone in which one experiment runs, so that nobody's working tree is touched.

It shares git's objects, DVC's cache with its run-cache, and `.selma` with what stages have begun. A
clone and not `dvc exp run --temp` or `--queue`: these put the working tree aside for a moment, and
a kill at that moment leaves it so.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from selma.core.errors import BackendError, ConfigError, one_line
from selma.studies.experiments import PIPELINE, Experiment
from selma.studies.git import git, shortened, tracked, untracked
from selma.studies.settings import PARAMS, apply_settings

SHARED = ".selma"


def make_workplace(root: Path, folder: Path, commit: str, experiment: Experiment) -> list[str]:
    """Clone the repository at a commit into `folder`, ready for an experiment.

    What stages depend on and neither git nor DVC knows, such as weights laid there by hand, is
    linked into the clone. Returns these files' paths.

    Raises:
        BackendError: git or DVC failed, as for data that is neither in the cache nor in a remote.
        ConfigError: code that stages depend on is not committed.
    """
    remove_workplace(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(root, "clone", "--quiet", "--shared", "--no-checkout", str(root.resolve()), str(folder))
    _copy_identity(root, folder)
    git(folder, "checkout", "--quiet", "--detach", commit)
    with (folder / ".git/info/exclude").open("a") as excluded:
        excluded.write(f"/{SHARED}\n")
    (folder / SHARED).symlink_to((root / SHARED).resolve(), target_is_directory=True)
    _share_cache(root, folder)
    by_hand = _link_what_lies_there(root, folder, experiment)
    _pull_other_pipelines(folder, commit)
    return by_hand


def remove_workplace(folder: Path) -> None:
    """Remove a clone; what it shares stays."""
    if folder.exists():
        shutil.rmtree(folder)


def dvc_environment() -> dict[str, str]:
    """Make DVC's environment for a clone: nothing of a run that this one may be part of.

    What stages tell MLflow would be lost with the clone; `selma track` does it afterwards.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("DVC_EXP_")}
    for name in ("DVC_ROOT", "DVC_STAGE"):
        own.pop(name, None)
    beside = str(Path(sys.executable).parent)
    path = f"{beside}{os.pathsep}{own.get('PATH', os.defpath)}"  # stages run under this Python
    return own | {"PATH": path, "DVC_NO_ANALYTICS": "1", "SELMA_TRACK": "0"}


def has_remote(folder: Path) -> bool:
    """Tell whether DVC has a default remote, from which results of others can come."""
    from dvc.config import Config

    return bool(Config(str(folder.resolve() / ".dvc")).get("core", {}).get("remote"))


def _copy_identity(root: Path, folder: Path) -> None:
    """Let the clone commit as the repository does."""
    for key in ("user.name", "user.email"):
        try:
            value = git(root, "config", "--local", key).decode().strip()
        except BackendError:  # not set
            continue
        git(folder, "config", "--local", key, value)


def _share_cache(root: Path, folder: Path) -> None:
    """Give the clone the repository's own settings of DVC, and its cache."""
    from dvc.config import Config

    mine = Config(str(root.resolve() / ".dvc"))
    cache = mine.get("cache", {}).get("dir") or str(root.resolve() / ".dvc/cache")
    own = mine.load_one("local")
    with Config(str(folder.resolve() / ".dvc")).edit("local") as local:
        for section, values in own.items():
            local.setdefault(section, {}).update(values)
        local.setdefault("cache", {})["dir"] = str(cache)


def _link_what_lies_there(root: Path, folder: Path, experiment: Experiment) -> list[str]:
    """Link the untracked files that stages read and no stage makes."""
    reads, made = _reads_and_makes(folder, experiment)
    code = [path for path in reads if _is_kept_by_git(root, path)]
    if new := _not_made(root, untracked(root, code, ignored=False), made):
        raise ConfigError(f"{shortened(new)}: not committed; a study runs what is committed")
    by_hand = untracked(root, [path for path in reads if path not in code], ignored=True)
    found = _not_made(root, by_hand, made)
    for name in found:
        _link(root / name, folder / name)
    return found


def _reads_and_makes(folder: Path, experiment: Experiment) -> tuple[list[str], set[Path]]:
    """List paths that stages read, but folders that gather outputs, and paths that they make."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    params, home = folder / PARAMS, folder.resolve()
    committed = params.read_bytes()
    try:
        apply_settings(committed, experiment.settings, params)
        with Repo(str(folder)) as repo:
            deps = {Path(dep.fs_path) for stage in repo.index.stages for dep in stage.deps}
            outs = {Path(out.fs_path): out.stage.path_in_repo for out in repo.index.outs}
    except DvcException as error:
        raise BackendError(f"DVC: {one_line(error)}") from error
    finally:
        params.write_bytes(committed)
    own = [out for out, made_in in outs.items() if made_in == PIPELINE]
    reads = [
        path.relative_to(home).as_posix()
        for path in sorted(deps)
        if path.is_relative_to(home) and not any(_within(out, path) for out in own)
    ]
    return reads, {out.relative_to(home) for out in outs if out.is_relative_to(home)}


def _is_kept_by_git(root: Path, path: str) -> bool:
    """Tell whether a path holds files of git's; folders that only DVC fills have a .gitignore."""
    listed = git(root, "ls-files", "-z", "--", path).decode().split("\0")
    return any(name and not name.endswith(".gitignore") for name in listed)


def _not_made(root: Path, names: Collection[str], made: Collection[Path]) -> list[str]:
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return [
            name
            for name in names
            if not any(_within(Path(name), out) for out in made)
            and not repo.dvcignore.is_ignored_file(str(root.resolve() / name))
        ]


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _link(source: Path, target: Path) -> None:
    """Make one file of two names, or a copy where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _pull_other_pipelines(folder: Path, commit: str) -> None:
    """Check out what other pipelines' files pin, so that an experiment does not make it anew."""
    files = tracked(folder, commit)
    others = sorted(path for path in files if path.endswith((".dvc", f"/{PIPELINE}")))
    if not others:
        return
    command = [sys.executable, "-m", "dvc", "pull", "--quiet", *others]
    done = subprocess.run(command, cwd=folder, env=dvc_environment(), capture_output=True)
    if done.returncode:
        said = one_line(done.stderr.decode(errors="replace"))
        raise BackendError(f"dvc pull {' '.join(others)}: {said}")
