"""A DVC repository in a folder of its own with this repository's graph, code and skills."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from fork_server import ForkServer
from tiny_world import ROOT, write_params

IGNORED = shutil.ignore_patterns("__pycache__")


class DvcWorld:
    """The repository; `params` is what params.yaml will hold at the next call."""

    def __init__(self, folder: Path, params: dict, server: ForkServer) -> None:
        """Lay the repository's own files into `folder` and make it a repository of git and DVC."""
        self.folder, self.params, self.server = folder, params, server
        for name in ("selma", "stages", "data/skills"):
            shutil.copytree(ROOT / name, folder / name, ignore=IGNORED, dirs_exist_ok=True)
        for name in ("dvc.yaml", ".dvcignore"):
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
        for name in ("config", ".gitignore"):
            shutil.copy(ROOT / ".dvc" / name, folder / ".dvc" / name)
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        self.write()

    def write(self) -> None:
        """Write params.yaml."""
        write_params(self.folder, self.params)

    @contextlib.contextmanager
    def _repo(self):
        from dvc.repo import Repo

        self.write()
        before = os.getcwd(), os.environ["PATH"]
        os.chdir(self.folder)
        os.environ["PATH"] = f"{self.server.folder}:{before[1]}"
        try:
            with Repo(str(self.folder)) as repo:
                yield repo
        finally:
            os.chdir(before[0])
            os.environ["PATH"] = before[1]

    def status(self) -> set[str]:
        """The stages that `dvc status` names."""
        with self._repo() as repo:
            return {name.rpartition("dvc.yaml:")[2] for name in repo.status()}

    def repro(self, *targets: str) -> list[str]:
        """Run `dvc repro`; returns the stages whose command ran, in their order."""
        self.server.taken()
        with self._repo() as repo:
            repo.reproduce(list(targets) or None)
        return self.server.taken()
