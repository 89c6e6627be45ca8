"""The whole of dvc.yaml on a tiny world: the same bytes twice, and numbers checked by hand."""

import hashlib
import importlib
import json
import random
import shlex
import shutil
from graphlib import TopologicalSorter

import pytest
from tiny_world import ROOT, copy_models, read_yaml, tiny_params, write_benchmarks, write_params

from selma.adapters.files import read_adapter, read_provenance
from selma.core.tables import read_about, read_table

PARAMS = tiny_params()
MODELS = tuple(PARAMS["models"])
SKILLS = tuple(PARAMS["skills"])
MEASURES = (*PARAMS["measures"], *PARAMS["preferences"])


def paths_of(entries):
    """The paths of deps, outs, metrics or plots, with or without options."""
    return [next(iter(e)) if isinstance(e, dict) else str(e) for e in entries or []]


def made_by(stage):
    return [path for kind in ("outs", "metrics", "plots") for path in paths_of(stage.get(kind))]


def resolved_stages(folder):
    """The stages of dvc.yaml as DVC reads them, matrix and foreach written out."""
    from dvc.parsing import DataResolver
    from dvc.repo import Repo

    shutil.copy(ROOT / "dvc.yaml", folder)
    with Repo.init(str(folder), no_scm=True) as repo:
        resolver = DataResolver(repo, str(folder), read_yaml(folder / "dvc.yaml"))
        return resolver.resolve()["stages"]


def before(stages):
    """For each stage those that make its deps: the very path, or one within the other."""
    makers = {path: name for name, stage in stages.items() for path in made_by(stage)}
    return {
        name: {
            maker
            for dep in paths_of(stage["deps"])
            for path, maker in makers.items()
            if f"{path}/".startswith(f"{dep}/") or f"{dep}/".startswith(f"{path}/")
        }
        for name, stage in stages.items()
    }


def run_all(stages, *, backwards):
    """Run every command after those that make its deps; `backwards` turns round the free order."""
    graph = TopologicalSorter(before(stages))
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
            for given in ("data/skills", "selma/pocket", "selma/correction", "selma/metrics"):
                shutil.copytree(ROOT / given, folder / given)
            copy_models(tiny_models, folder)
            write_params(folder, PARAMS)
            write_benchmarks(folder)
            patch.chdir(folder)
            stages = resolved_stages(folder)
            random.seed(number)  # what a stage makes must not hang on the global generators
            torch.manual_seed(number)
            run_all(stages, backwards=bool(number))
    return (*folders, stages)


@pytest.fixture
def world(runs):
    """The first folder."""
    return runs[0]


def files_of(folder, stages):
    """All files that the stages declare, those of declared folders too."""
    made = [folder / path for stage in stages.values() for path in made_by(stage)]
    inside = [file for path in made if path.is_dir() for file in path.rglob("*") if file.is_file()]
    return {path for path in made if not path.is_dir()} | set(inside)


def hashes(folder, stages):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_of(folder, stages)
    }


def test_two_runs_in_other_folders_and_another_order_make_the_same_bytes(runs):
    first, second, stages = runs
    made = hashes(first, stages)
    assert len(made) > 50
    assert made == hashes(second, stages)


def test_nothing_but_what_dvc_yaml_declares_is_left(runs):
    first, _, stages = runs
    given = ("data/skills", "data/benchmarks", "models/pocket", "selma", ".dvc", ".selma")
    names = {str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()}
    left = {name for name in names if not name.startswith(given)}
    declared = {str(path.relative_to(first)) for path in files_of(first, stages)}
    assert left == declared | {"params.yaml", "dvc.yaml"}
    assert not any((first / ".selma/work").iterdir())


def samples(folder, model, benchmark="pocket-dsg"):
    return read_table(folder / f"data/samples/{model}/{benchmark}.parquet", "samples")


def key(row):
    return row["item_id"], row["sample"]


def test_models_are_compared_on_the_same_items_and_seeds_and_draw_different_pictures(world):
    tables = [samples(world, model) for model in MODELS]
    keys = [[(*key(row), row["seed"]) for row in table] for table in tables]
    assert keys[0] == keys[1] == keys[2]
    assert len({tuple(row["sha256"] for row in table) for table in tables}) == len(MODELS)


def test_each_skills_pictures_are_of_its_own_prompts_and_its_expert_of_them(world):
    for skill in SKILLS:
        prompts = read_table(world / f"data/prompts/{skill}.parquet", "prompts")
        images = read_table(world / f"data/images/{skill}.parquet", "images")
        assert [row["prompt"] for row in images] == [row["prompt"] for row in prompts]
        drawn, corrected = (world / f"data/{n}/{skill}.parquet" for n in ("images", "corrected"))
        assert drawn.read_bytes() == corrected.read_bytes()
        made = read_provenance(world / f"models/experts/{skill}.safetensors")
        assert (made["name"], made["lora"]["train_steps"]) == (skill, 3)
    mixed = read_provenance(world / "models/mixtures/mixture.safetensors")
    assert mixed["lora"]["train_steps"] == 3 * len(SKILLS)
    assert len({(world / f"models/experts/{s}.safetensors").read_bytes() for s in SKILLS}) == 5


def test_the_merged_adapter_is_the_mean_of_the_experts_updates(world):
    experts = [read_adapter(world / f"models/experts/{skill}.safetensors") for skill in SKILLS]
    merged = read_adapter(world / "models/merged/merged.safetensors")
    assert set(merged) == set(experts[0])
    for layer, factors in merged.items():
        mean = sum(expert[layer].delta() for expert in experts) / len(experts)
        assert (factors.delta() - mean).abs().max() <= 1e-5 * mean.abs().max() + 1e-9


@pytest.mark.parametrize("row", PARAMS["answers"])
def test_every_model_was_judged_on_its_own_pictures(world, row):
    benchmark = PARAMS["answers"][row]["benchmark"]
    items = read_table(world / f"data/benchmarks/{benchmark}.parquet", "benchmark")
    asked = {one["item_id"]: len(one["questions"]) for one in items}
    for model in MODELS:
        answers = read_table(world / f"data/answers/{row}/{model}.parquet", "answers")
        drawn = {key(one): one["sha256"] for one in samples(world, model, benchmark)}
        assert {key(one): one["sha256"] for one in answers} == drawn
        assert len(answers) == sum(asked[item_id] for item_id, _ in drawn)


def dsg_by_hand(world, model):
    """DSG, official filter, mean over prompts: a yes counts if all its parents are yes."""
    items = read_table(world / "data/benchmarks/pocket-dsg.parquet", "benchmark")
    answers = read_table(world / f"data/answers/dsg/{model}.parquet", "answers")
    yes = {(*key(one), one["question_id"]): one["answer"] == "yes" for one in answers}
    prompts = []
    for one in items:
        points = []
        for number in range(PARAMS["samples"]["per_prompt"]):
            for asked in one["questions"]:
                parents = [int(p) for p in asked["dependency"].split(",") if int(p)]
                ids = [asked["question_id"], *parents]
                points.append(all(yes[one["item_id"], number, each] for each in ids))
        prompts.append(sum(points) / len(points))
    return 100 * sum(prompts) / len(prompts)


def named(measure, model):
    return measure if model == PARAMS["compare"]["subject"] else f"{measure}_{model}"


@pytest.fixture
def metrics(world):
    return json.loads((world / "metrics/metrics.json").read_text(encoding="utf-8"))


def test_the_headline_dsg_is_what_ten_lines_make_of_the_answers(world, metrics):
    for model in MODELS:
        assert metrics[named("dsg", model)] == pytest.approx(dsg_by_hand(world, model), abs=1e-3)


def mean_of(world, measure, model):
    path = world / f"data/scores/{measure}/{model}.parquet"
    by_item = {}
    for row in read_table(path, "scores"):
        by_item.setdefault(row["item_id"], []).append(row["score"])
    means = [sum(values) / len(values) for values in by_item.values()]
    return read_about(path)["factor"] * sum(means) / len(means)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_headline_numbers_are_the_means_of_the_score_tables(world, metrics, measure):
    means = {model: mean_of(world, measure, model) for model in MODELS}
    for model in MODELS:
        assert metrics[named(measure, model)] == pytest.approx(means[model], abs=1e-4)
    compare = PARAMS["compare"]
    subject, reference = means[compare["subject"]], means[compare["reference"]]
    assert metrics[f"{measure}_gain"] == pytest.approx(subject - reference, abs=1e-4)
    for rival in compare["against"]:
        difference = metrics[f"{measure}_over_{rival}"]
        assert difference == pytest.approx(subject - means[rival], abs=1e-4)


def test_every_scores_table_is_of_its_own_measure_and_judge(world):
    for measure in MEASURES:
        row = {**PARAMS["measures"], **PARAMS["preferences"]}[measure]
        benchmark = row.get("benchmark") or PARAMS["answers"][row["answers"]]["benchmark"]
        for model in MODELS:
            about = read_about(world / f"data/scores/{measure}/{model}.parquet")
            assert (about["measure"], about["metric"]) == (measure, row["kind"])
            assert (about["title"], about["benchmark"]) == (row["title"], benchmark)
            assert about["coverage"] == 1.0


def test_the_report_names_every_measure_and_model(world):
    page = (world / "report/report.html").read_text(encoding="utf-8")
    rows = {**PARAMS["measures"], **PARAMS["preferences"]}.values()
    assert all(word in page for word in (*MODELS, *(row["title"] for row in rows)))
