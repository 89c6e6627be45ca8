"""The whole of dvc.yaml on a tiny world, stage by stage as DVC would run it."""

import hashlib
import importlib
import random
import shlex
import shutil
from graphlib import TopologicalSorter

import pytest
from ruamel.yaml import YAML
from tiny_world import ROOT, copy_models, tiny_params, write_benchmarks, write_params

from selma.core.tables import read_table

MODELS = ("base", "merged", "mixture")


def paths_of(entries):
    """The paths of deps, outs, metrics or plots, with or without options."""
    return [next(iter(e)) if isinstance(e, dict) else str(e) for e in entries or []]


def made_by(stage):
    return [path for kind in ("outs", "metrics", "plots") for path in paths_of(stage.get(kind))]


def resolved_stages(folder):
    """Give the stages of dvc.yaml as DVC reads them, matrix and foreach written out."""
    from dvc.parsing import DataResolver
    from dvc.repo import Repo

    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    (folder / "dvc.yaml").write_text(text, encoding="utf-8")
    with Repo.init(str(folder), no_scm=True) as repo:
        return DataResolver(repo, str(folder), YAML(typ="safe").load(text)).resolve()["stages"]


def run_all(stages, *, backwards):
    """Run every command after those that make its deps; `backwards` turns round the free order."""
    makers = {path: name for name, stage in stages.items() for path in made_by(stage)}
    graph = TopologicalSorter(
        {
            name: {makers[path] for path in paths_of(stage["deps"]) if path in makers}
            for name, stage in stages.items()
        }
    )
    graph.prepare()
    while graph.is_active():
        for name in sorted(graph.get_ready(), reverse=backwards):
            python, option, module, *arguments = shlex.split(stages[name]["cmd"])
            assert (python, option) == ("python", "-m")
            importlib.import_module(module).main(arguments)
            graph.done(name)


@pytest.fixture(scope="module")
def runs(tiny_models, tmp_path_factory):
    """Two folders in which the same pipeline ran, and its stages."""
    import torch

    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        for number, folder in enumerate(folders):
            shutil.copytree(ROOT / "data/skills", folder / "data/skills")
            copy_models(tiny_models, folder)
            write_params(folder, tiny_params())
            write_benchmarks(folder)
            patch.chdir(folder)
            stages = resolved_stages(folder)
            random.seed(number)  # what a stage makes must not hang on the global generators
            torch.manual_seed(number)
            run_all(stages, backwards=bool(number))
    return (*folders, stages)


def hashes(folder, stages):
    return {
        path: hashlib.sha256((folder / path).read_bytes()).hexdigest()
        for stage in stages.values()
        for path in made_by(stage)
    }


def test_two_runs_in_other_folders_and_another_order_make_the_same_bytes(runs):
    first, second, stages = runs
    made = hashes(first, stages)
    assert len(made) > 50
    assert made == hashes(second, stages)


def test_nothing_but_what_dvc_yaml_declares_is_left(runs):
    first, _, stages = runs
    given = ("data/skills", "data/benchmarks", "models/pocket", ".dvc", ".selma")
    names = {str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()}
    left = {name for name in names if not name.startswith(given)}
    declared = {path for stage in stages.values() for path in made_by(stage)}
    assert left == declared | {"params.yaml", "dvc.yaml"}
    assert not any((first / ".selma/work").iterdir())


def test_models_are_compared_on_the_same_items_and_seeds_and_draw_different_pictures(runs):
    tables = [
        read_table(runs[0] / "data/samples" / model / "pocket-dsg.parquet", "samples")
        for model in MODELS
    ]
    keys = [[(row["item_id"], row["sample"], row["seed"]) for row in table] for table in tables]
    assert keys[0] == keys[1] == keys[2]
    assert len({tuple(row["sha256"] for row in table) for table in tables}) == len(MODELS)
