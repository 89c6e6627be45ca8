"""A DVC repository in a folder of its own with this repository's graph, code and skills."""

import contextlib
import os
import shutil
import subprocess
import warnings
from collections import OrderedDict
from pathlib import Path

import dvc.utils.serialize._yaml
import pytest
from dvc.utils.serialize import parse_yaml
from fork_server import ForkServer
from ruamel.yaml import YAML
from tiny_world import ROOT, write_params

IGNORED = shutil.ignore_patterns("__pycache__")


def lay_out(folder: Path) -> None:
    """Put the repository's own files into `folder` and make it a repository of git and DVC."""
    for name in ("selma", "stages", "data/skills", ".dvc/plots"):
        shutil.copytree(ROOT / name, folder / name, ignore=IGNORED)
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def _dump_quickly(data, stream):
    """Write dvc.lock without the care for comments that takes DVC a second for each stage."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False
    yaml.Representer.add_representer(OrderedDict, yaml.Representer.represent_dict)
    yaml.dump(data, stream)


class DvcWorld:
    """The repository; `params` is what params.yaml will hold at the next call."""

    def __init__(self, folder: Path, params: dict, server: ForkServer) -> None:
        """Take a folder that `lay_out` was called for."""
        self.folder, self.params, self.server = folder, params, server

    def write(self) -> None:
        """Write params.yaml."""
        write_params(self.folder, self.params)

    @contextlib.contextmanager
    def _repo(self):
        from dvc.repo import Repo

        self.write()
        path = f"{self.server.folder}:{os.environ['PATH']}"
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
            patch.chdir(self.folder)
            patch.setenv("PATH", path)
            patch.setattr(dvc.utils.serialize._yaml, "parse_yaml_for_update", parse_yaml)
            patch.setattr(dvc.utils.serialize._yaml, "_dump", _dump_quickly)
            with Repo(str(self.folder)) as repo:
                yield repo

    def status(self) -> set[str]:
        """The stages that `dvc status` names."""
        with self._repo() as repo:
            return {name.rpartition("dvc.yaml:")[2] for name in repo.status()}

    def stages(self) -> set[str]:
        """All stages of the graph."""
        with self._repo() as repo:
            return {stage.name for stage in repo.index.stages}

    def repro(self, *targets: str) -> list[str]:
        """Run `dvc repro`; returns the stages whose command ran, in their order."""
        self.server.taken()
        with self._repo() as repo:
            repo.reproduce(list(targets) or None)
        return self.server.taken()
