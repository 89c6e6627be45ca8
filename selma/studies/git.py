"""The few things that studies ask git."""

import subprocess
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from selma.core.errors import BackendError, ConfigError, MissingDependencyError, one_line

EXPERIMENTS = "refs/exps"


def git(root: Path, *arguments: str) -> bytes:
    """Run git in a repository and return what it prints.

    Raises:
        BackendError: git fails; the message is its own.
        MissingDependencyError: there is no git.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise MissingDependencyError(
            "git is not installed, and DVC's experiments need it"
        ) from error
    except subprocess.CalledProcessError as error:
        said = one_line(error.stderr.decode(errors="replace"))
        raise BackendError(f"git {arguments[0]} failed in {root}: {said}") from error
    return bytes(done.stdout)


def head(root: Path) -> str:
    """Find the commit at hand; ConfigError where there is none."""
    try:
        return git(root, "rev-parse", "--verify", "HEAD^{commit}").decode().strip()
    except BackendError as error:
        raise ConfigError(
            f"{root.resolve()}: no git repository with a commit; a study runs what is committed"
        ) from error


def read_file(root: Path, revision: str, path: str) -> bytes:
    """Read a file as it is in a commit; BackendError if it is not there."""
    return git(root, "show", f"{revision}:{path}")


def tracked(root: Path, revision: str) -> dict[str, str]:
    """List a commit's files with their mode, kind and hash."""
    listed = git(root, "ls-tree", "-r", "-z", "--full-tree", revision).decode()
    entries = (line.split("\t", 1) for line in listed.split("\0") if line)
    return {path: about for about, path in entries}


def changed(root: Path) -> list[str]:
    """List tracked files that differ from the commit at hand, sorted."""
    names = git(root, "diff", "--name-only", "--no-renames", "-z", "HEAD").decode()
    return sorted(name for name in names.split("\0") if name)


def untracked(root: Path, folders: Iterable[str], *, ignored: bool) -> list[str]:
    """List files below some paths that git does not know, also those it ignores if asked."""
    paths = sorted(set(folders))
    if not paths:
        return []
    standard = [] if ignored else ["--exclude-standard"]
    listed = git(root, "ls-files", "--others", *standard, "-z", "--", *paths).decode()
    return sorted(name for name in listed.split("\0") if name)


def shortened(names: Sequence[str], number: int = 5) -> str:
    """Join the first few names, with an ellipsis for the others."""
    return ", ".join(names[:number]) + (", …" if len(names) > number else "")


def experiments(root: Path, names: Collection[str]) -> dict[str, str]:
    """Find the commits of DVC experiments by name, on whatever commit they started."""
    return {name: revision for name, (_, revision) in _experiments(root, names).items()}


def bring_home(clone: Path, root: Path, name: str) -> bool:
    """Fetch an experiment from a clone into the repository; False if the clone has not got it."""
    for ref, _ in _experiments(clone, {name}).values():
        git(root, "fetch", "--quiet", "--no-tags", str(clone), f"+{ref}:{ref}")
        return True
    return False


def bundle_experiments(root: Path, names: Collection[str], path: Path) -> None:
    """Write experiments to a file of git, without what the commit at hand has already."""
    refs = sorted(ref for ref, _ in _experiments(root, names).values())
    git(root, "bundle", "create", "--quiet", str(path.resolve()), *refs, "--not", "HEAD")


def take_bundled(root: Path, path: Path) -> None:
    """Fetch the experiments of such a file that are not here; BackendError if git cannot.

    It cannot without the commit on which they stand.
    """
    here = git(root, "for-each-ref", "--format=%(refname)", EXPERIMENTS).decode().split()
    listed = git(root, "bundle", "list-heads", str(path.resolve())).decode().splitlines()
    new = [ref for _, ref in (line.split(" ", 1) for line in listed) if ref not in here]
    if new:
        refs = [f"{ref}:{ref}" for ref in new]
        git(root, "fetch", "--quiet", "--no-tags", str(path.resolve()), *refs)


def _experiments(root: Path, names: Collection[str]) -> dict[str, tuple[str, str]]:
    """Find (ref, commit) of DVC experiments by name, the last of each."""
    form = "--format=%(refname) %(objectname)"
    listed = git(root, "for-each-ref", "--sort=committerdate", form, EXPERIMENTS).decode()
    found = {}
    for line in listed.splitlines():
        ref, revision = line.split(" ")
        name = ref.rpartition("/")[2]
        if name in names and ref.count("/") == 4:  # refs/exps/AB/CDEF…/NAME
            found[name] = (ref, revision)
    return found
