"""A row of params.yaml adds a skill, merge, model, benchmark, measure, judge or scorer.

dvc.yaml is the repository's own. `dvc status` names what is new and the stages that gather, and a
`dvc repro` runs these and nothing else.
"""

import contextlib
import copy
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from dvc_world import DvcWorld, lay_out
from fork_server import ForkServer
from PIL import Image
from tiny_world import (
    DISTILLATION,
    MERGE,
    SEARCH,
    copy_models,
    tiny_params,
    write_benchmarks,
    write_dev_split,
)

from selma.adapters.routers import read_router
from selma.core.tables import read_table, write_table

sys.path += [str(Path(__file__).parent / name) for name in ("judges",)]
SKILLS = ("count", "attributes")
EVERY_ROW = {"compare", "report"}  # they read all rows' names
PAIRS = {"pairs@count", "pairs@attributes"}
TRAININGS = {"lora@count", "lora@attributes", "mixture@mixture"}
SPATIAL = """\
version: 1
skill: spatial
words: {min: 3, max: 25}
instructions: |
  You write prompts for a text-to-image model. These prompts are about a spatial relation: each
  says which of two things is in which position, seen from the other.
  The things are flat shapes: circle, square, triangle, diamond, star, heart, cross or ring.
seed_prompts:
  - a red circle to the left of a blue square
  - a green star above a yellow heart
  - a pink ring below a black cross
"""


def base_params():
    """Two skills, one benchmark, two models, one measure and one scorer."""
    params = tiny_params(images={"per_prompt": 1}, samples={"per_prompt": 1})
    for section, names in {
        "skills": SKILLS,
        "models": ("base", "merged"),
        "benchmarks": ("pocket-dsg",),
        "answers": ("dsg",),
        "measures": ("dsg",),
        "preferences": ("hps",),
        "raters": ("pickscore",),
        "sources": ("self", "truth"),
    }.items():
        params[section] = {name: params[section][name] for name in names}
    params["merges"]["merged"]["weights"] = dict.fromkeys(SKILLS, 1.0)
    params["mixtures"]["mixture"]["skills"] = list(SKILLS)
    params["compare"]["against"] = []
    params["sources"]["truth"]["per_skill"] = 4
    return params


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory):
    """A server on which every repository's `python` runs."""
    with ForkServer(tmp_path_factory.mktemp("python")) as server:
        yield server


@pytest.fixture(scope="session")
def built(tmp_path_factory, tiny_models, fork_server):
    """A repository in which everything has run; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("rows")
    copy_models(tiny_models, folder)
    write_benchmarks(folder)
    (folder / "data/benchmarks/pocket-tifa.parquet").unlink()
    lay_out(folder)
    world = DvcWorld(folder, base_params(), fork_server)
    ran = world.repro()
    assert len(ran) == len(set(ran)) == len(world.stages())
    return world


@pytest.fixture
def world(built, monkeypatch):
    """That repository with params to change; the params and added files go again."""
    before = copy.deepcopy(built.params)
    there = set(built.folder.rglob("*"))
    yield built
    built.params = before
    for path in sorted(set(built.folder.rglob("*")) - there, reverse=True):
        if not path.relative_to(built.folder).parts[0].startswith("."):
            path.rmdir() if path.is_dir() else path.unlink()


def names(pattern, *values):
    return {pattern.format(value) for value in values}


def new_model(model, params):
    """The stages of a model that is new."""
    return {
        f"model_row@{model}",
        *names(f"samples@{model}-{{}}", *params["benchmarks"]),
        *names(f"answers@{{}}-{model}", *params["answers"]),
        *names(f"preferences@{{}}-{model}", *params["preferences"]),
    }


def reads_models(params):
    """The stages that gather over all models."""
    return (
        names("answers_row@{}", *params["answers"])
        | names("preference_row@{}", *params["preferences"])
        | names("scores@{}", *params["measures"])
        | EVERY_ROW
    )


def add_skill(folder, params):
    (folder / "data/skills/spatial.yaml").write_text(SPATIAL)
    params["skills"]["spatial"] = {
        **params["skills"]["count"], "instructions": "data/skills/spatial.yaml"
    }  # fmt: skip


def add_merge(folder, params):
    params["merges"]["without_count"] = {
        **MERGE, "weights": {"attributes": 1.0}
    }  # fmt: skip
    params["models"]["without_count"] = {"weights": "models/merged/without_count.safetensors"}


def add_expert(folder, params):
    params["models"]["count_alone"] = {"weights": "models/experts/count.safetensors"}


def add_router(folder, params):
    params["routers"]["moe"] = {"skills": list(SKILLS), "top_k": 2, "lora": {}}
    params["models"]["routed"] = {"weights": "models/routers/moe.safetensors"}


def add_combined(folder, params):
    experts = {"weights": "models/experts", "experts": list(SKILLS)}
    params["models"]["switched"] = {**experts, "combine": "switch", "every_steps": 1}
    params["models"]["composed"] = {**experts, "combine": "composite"}


def add_benchmark(folder, params):
    """Prompts of other words, so that none is nearer to a training prompt than those there are."""
    rows = read_table(folder / "data/benchmarks/pocket-dsg.parquet", "benchmark")
    rows = [{**row, "prompt": f"zyx{number}"} for number, row in enumerate(rows[:2])]
    write_table(folder / "data/benchmarks/second.parquet", "benchmark", rows)
    params["benchmarks"]["second"] = {}
    params["answers"]["second"] = {**params["answers"]["dsg"], "benchmark": "second"}
    params["measures"]["dsg_second"] = {**params["measures"]["dsg"], "answers": "second"}


def add_measure(folder, params):
    params["measures"]["dsg_lenient"] = {**params["measures"]["dsg"], "policy": "lenient"}


def add_judge(folder, params):
    from tiny import write_vilt

    write_vilt(folder / "models/hub/vilt")
    params["judges"]["vilt"] = {
        **params["judges"]["pocket"], "kind": "vilt", "path": "models/hub/vilt", "revision": None
    }  # fmt: skip
    params["answers"]["vilt"] = {**params["answers"]["dsg"], "judge": "vilt"}
    measure = {"answers": "vilt", "no_answer_max": 1.0, "title": "DSG by ViLT"}
    params["measures"]["dsg_vilt"] = {**params["measures"]["dsg"], **measure}


def add_scorer(folder, params):
    params["preferences"]["clipscore"] = {
        **params["preferences"]["hps"],
        "kind": "clipscore",
        "path": "models/pocket/pickscore",
        "title": "CLIPScore",
        "version": "cosine",
    }


def add_fits(folder, params):
    regmean = {"kind": "regmean", "weights": dict.fromkeys(SKILLS, 1.0), "scale": 1.0}
    params["fits"]["regmean"] = {**regmean, "off_diagonals": 0.9, "rank": None}
    params["fits"]["cat"] = {"kind": "cat", "skills": list(SKILLS), "lora": {}}
    params["models"]["regmean"] = {"weights": "models/fits/regmean.safetensors"}


def add_distillation(folder, params):
    params["distillations"]["learnt"] = {**DISTILLATION, "weights": dict.fromkeys(SKILLS, 1.0)}
    params["models"]["learnt"] = {"weights": "models/distilled/learnt.safetensors"}


def add_search(folder, params):
    write_dev_split(folder)
    params["searches"]["best"] = {**SEARCH, "skills": list(SKILLS), "evaluations": 2}
    params["models"]["best"] = {"weights": "models/searches/best.safetensors"}


ADDITIONS = [
    add_skill, add_merge, add_fits, add_distillation, add_search, add_expert, add_router,
    add_combined, add_benchmark, add_measure, add_judge, add_scorer,
]  # fmt: skip


def test_nothing_is_to_be_done_after_a_run(world):
    assert world.status() == set()


def test_a_skill_is_a_file_and_a_row(world):
    add_skill(world.folder, world.params)
    new = names("{}@spatial", "prompts", "images", "best", "correct", "pairs", "lora")
    assert world.status() == new | {"report"}


def test_a_merge_is_a_row_and_a_row_compares_it(world):
    add_merge(world.folder, world.params)
    new = {"merge@without_count", *new_model("without_count", world.params)}
    assert world.status() == new | reads_models(world.params)


def test_fits_are_rows_and_one_is_compared(world):
    add_fits(world.folder, world.params)
    new = {"fit_row@regmean", "fit@regmean", "fit_row@cat", "fit@cat"}
    new |= new_model("regmean", world.params)
    assert world.status() == new | reads_models(world.params)


def test_a_distillation_is_a_row_and_a_row_compares_it(world):
    add_distillation(world.folder, world.params)
    new = {"distillation_row@learnt", "distil@learnt", *new_model("learnt", world.params)}
    assert world.status() == new | reads_models(world.params)


def test_a_search_is_a_row_and_a_dev_split(world):
    add_search(world.folder, world.params)
    new = {"search_row@best", "search@best", *new_model("best", world.params)}
    assert world.status() == new | reads_models(world.params)


def test_an_expert_is_a_model_by_a_row(world):
    add_expert(world.folder, world.params)
    stages = new_model("count_alone", world.params) | reads_models(world.params)
    assert world.status() == stages - {"report"}


def test_a_router_is_a_row_and_a_row_compares_it(world):
    add_router(world.folder, world.params)
    new = {"router_row@moe", "router@moe", *new_model("routed", world.params)}
    assert world.status() == new | reads_models(world.params)


def test_experts_by_turns_or_composed_are_a_row_of_models(world):
    add_combined(world.folder, world.params)
    new = new_model("switched", world.params) | new_model("composed", world.params)
    assert world.status() == (new | reads_models(world.params)) - {"report"}


def test_a_second_benchmark_is_drawn_and_asked_and_the_training_prompts_are_checked(world):
    add_benchmark(world.folder, world.params)
    new = {"answers_row@second", "scores@dsg_second"}
    new |= names("samples@{}-second", "base", "merged") | names(
        "answers@second-{}", "base", "merged"
    )
    checked = names("prompts@{}", *SKILLS) | names("source@{}", *world.params["sources"])
    assert world.status() == new | checked | EVERY_ROW


def test_a_second_measure_on_the_same_answers_asks_nothing(world):
    add_measure(world.folder, world.params)
    assert world.status() == {"scores@dsg_lenient"} | EVERY_ROW


def test_a_second_judge_is_asked_and_nobody_else(world):
    add_judge(world.folder, world.params)
    new = {"judge_row@vilt", "answers_row@vilt", "scores@dsg_vilt"}
    new |= names("answers@vilt-{}", "base", "merged")
    assert world.status() == new | EVERY_ROW


def test_another_scorer_scores_and_nothing_else(world):
    add_scorer(world.folder, world.params)
    new = {"preference_row@clipscore", *names("preferences@clipscore-{}", "base", "merged")}
    assert world.status() == new | EVERY_ROW


def set_value(params, key, value):
    *path, last = key.split(".")
    for name in path:
        params = params[name]
    assert params[last] != value
    params[last] = value


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("correct.keep", "all", {"correct@count", "correct@attributes"}),
        ("objectives.dpo.beta", 1.0, set()),
        ("objectives.ddpo.rater", "faithfulness", set()),
        ("lora.objective", "dpo", {"objective_row", *PAIRS, *TRAININGS}),
        ("merges.merged.scale", 0.5, {"merge@merged", "report"}),
        ("skills.count.lora", {"rank": 1}, {"lora@count", "report"}),
        ("skills.count.images", {"batch_size": 1}, {"images@count", "pairs@count", "report"}),
        ("skills.count.prompts", {"rouge_l_max": 0.9}, {"prompts@count", "report"}),
        ("mixtures.mixture.lora", {"rank": 1}, {"mixture_row@mixture", "mixture@mixture",
            "report"}),
        ("judges.pocket.batch_size", 1, {"judge_row@pocket"}),
        ("answers.dsg.template", "yes-no", {"answers_row@dsg", "answers@dsg-base",
            "answers@dsg-merged", "scores@dsg", "report"}),
        ("measures.dsg.policy", "lenient", {"scores@dsg", *EVERY_ROW}),
        ("preferences.hps.batch_size", 1, {"preference_row@hps", "preferences@hps-base",
            "preferences@hps-merged", *EVERY_ROW}),
        ("compare.resamples", 300, EVERY_ROW),
        ("report.examples", 1, {"report"}),
        ("images.source", "truth", {"images@count", "images@attributes", "best@count",
            "best@attributes", *PAIRS}),
        ("sources.truth.per_skill", 5, {"source@truth"}),
        ("raters.pickscore.batch_size", 1, {"rater_row@pickscore"}),
    ],
)  # fmt: skip
def test_an_override_is_read_by_what_depends_on_it_alone(world, key, value, stages):
    set_value(world.params, key, value)
    assert world.status() == stages


@contextlib.contextmanager
def one_bit_changed(folder):
    """Change the weights in a folder by their last bit, and back."""
    weights = next(folder.glob("*.safetensors"))
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        yield
    finally:
        weights.write_bytes(kept)


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("base/unet", {"images@count", "images@attributes", "lora@count", "lora@attributes", *PAIRS,
            "mixture@mixture", "model_row@base", "samples@base-pocket-dsg",
            "samples@merged-pocket-dsg"}),
        ("hps", {"preference_row@hps"}),
        ("detector", {"correct@count", "correct@attributes"}),
        ("gligen/unet", {"correct@count", "correct@attributes"}),
    ],
)  # fmt: skip
def test_other_weights_under_the_same_name_are_seen(world, file, stages):
    with one_bit_changed(world.folder / "models/pocket" / file):
        assert world.status() == stages


def copy_of(built, folder):
    shutil.copytree(built.folder, folder, symlinks=True)
    return DvcWorld(folder, copy.deepcopy(built.params), built.server)


def test_a_graph_without_merges_mixtures_and_preferences_runs(built, tmp_path):
    world = copy_of(built, tmp_path / "world")
    for gone in ("metrics/merges", "models/merged", "models/mixtures", "plots/loss/mixtures",
                 "data/rows/mixtures", "data/rows/preferences", "data/scores/hps",
                 "data/samples/merged", "data/answers/dsg/merged.parquet"):  # fmt: skip
        path = world.folder / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    world.params |= {"merges": {}, "mixtures": {}, "preferences": {}}
    del world.params["models"]["merged"]
    add_expert(world.folder, world.params)
    world.params["compare"]["subject"] = "count_alone"
    new = new_model("count_alone", world.params)
    assert set(world.repro()) == new | {"answers_row@dsg", "scores@dsg", *EVERY_ROW}
    assert world.status() == set()


def grey_of(skill, number):
    return 10 * number + 5 * (skill == "count")


def grey_in(row):
    """The one grey of a picture in a table."""
    (grey,) = np.unique(np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))))
    return grey


def write_pairs(folder, number):
    """Lay `number` pictures, larger than what is drawn, for each skill, captions beside them."""
    for skill in SKILLS:
        (folder / skill).mkdir(parents=True)
        for k in range(number):
            grey = np.full((20, 24, 3), grey_of(skill, k), np.uint8)
            Image.fromarray(grey).save(folder / skill / f"{k}.png")
            (folder / skill / f"{k}.txt").write_text(f"photograph {k} of {skill}")


@pytest.fixture(scope="session")
def with_pairs(built, tmp_path_factory):
    """A copy of the repository with thirty pairs of the user's, a run on them and what ran."""
    world = copy_of(built, tmp_path_factory.mktemp("pairs") / "world")
    write_pairs(world.folder / "data/mine", 15)
    side = read_table(built.folder / "data/images/count.parquet", "images")[0]["width"]
    world.params["sources"]["mine"] = {
        "kind": "folder", "path": "data/mine", "pictures": "truth", "size_px": side
    }  # fmt: skip
    world.params["images"]["source"] = "mine"
    return world, world.repro()


def test_a_users_thirty_pictures_are_what_is_trained_on_and_no_prompt_is_written_anew(with_pairs):
    world, ran = with_pairs
    stages = {f"{stage}@{skill}" for stage in ("images", "best", "correct") for skill in SKILLS}
    stages |= {"source@mine", *PAIRS, *TRAININGS, "mixture_row@mixture", "merge@merged"}
    stages |= new_model("merged", world.params) | reads_models(world.params)
    assert set(ran) == stages and len(ran) == len(stages)
    for skill in SKILLS:
        rows = read_table(world.folder / f"data/corrected/{skill}.parquet", "images")
        greys = {f"photograph {k} of {skill}": grey_of(skill, k) for k in range(15)}
        assert {row["prompt"]: grey_in(row) for row in rows} == greys and len(rows) == 15
    assert world.status() == set()


@pytest.fixture(scope="session")
def changed(built, tmp_path_factory):
    """A copy of the repository in which a merge has another scale, and what ran for it."""
    world = copy_of(built, tmp_path_factory.mktemp("changed") / "world")
    set_value(world.params, "merges.merged.scale", 0.5)
    return world, world.repro()


def test_an_override_runs_what_depends_on_it_and_nothing_else(changed):
    """Nothing of the model base, and no stage of training."""
    world, ran = changed
    gather = {"answers_row@dsg", "preference_row@hps", "scores@dsg", *EVERY_ROW}
    assert set(ran) == {"merge@merged", *new_model("merged", world.params)} | gather
    assert len(ran) == len(set(ran))


@pytest.fixture(scope="session")
def grown(changed):
    """That copy in which all additions have run at once, and what ran."""
    world, _ = changed
    for add in ADDITIONS:
        add(world.folder, world.params)
    return world, world.repro()


def test_all_additions_run_and_nothing_that_was_there_runs_again(built, grown):
    """But the stages that gather: prompts look at all benchmarks, a merge at all experts."""
    world, ran = grown
    gather = {"merge@merged", "mixture_row@mixture", *names("prompts@{}", *SKILLS)}
    gather |= {"answers_row@dsg", "preference_row@hps", "scores@dsg", *EVERY_ROW}
    gather |= names("source@{}", *world.params["sources"])  # of the skills, and no benchmark's
    gather |= names("rater_row@{}", *world.params["raters"])  # of the judges
    assert set(ran) == (world.stages() - built.stages()) | gather
    assert len(ran) == len(set(ran))
    assert world.status() == set()


def test_every_added_measure_is_compared_and_says_who_judged(grown):
    world, _ = grown
    comparison = json.loads((world.folder / "metrics/comparison.json").read_text())
    measures = {row["name"]: row for row in comparison["measures"]}
    assert list(measures) == ["dsg", "dsg_second", "dsg_lenient", "dsg_vilt", "hps", "clipscore"]
    assert comparison["models"] == [
        "base", "merged", "without_count", "regmean", "learnt", "best", "count_alone", "routed",
        "switched", "composed",
    ]  # fmt: skip
    assert measures["dsg_lenient"]["policy"] == "lenient, prompt mean"
    assert measures["dsg_second"]["benchmark"] == "second"
    assert measures["dsg_vilt"]["judge"].startswith("vilt vilt@sha256:")
    assert measures["clipscore"]["version"] == "cosine"


def drawn(world, model):
    rows = read_table(world.folder / f"data/samples/{model}/pocket-dsg.parquet", "samples")
    return [row["sha256"] for row in rows]


def test_a_router_a_switch_and_a_composite_draw_pictures_of_their_own(grown):
    world, _ = grown
    names = ("base", "merged", "count_alone", "routed", "switched", "composed")
    assert len({tuple(drawn(world, name)) for name in names}) == len(names)
    router = read_router(world.folder / "models/routers/moe.safetensors")
    assert router.experts == sorted(SKILLS)
    assert (world.folder / "plots/loss/routers/moe.csv").read_text().startswith("step,loss")
    assert "moe" in (world.folder / "report/report.html").read_text()


def test_another_skills_new_expert_trains_no_router_and_draws_no_combination(grown):
    """The rows' files are written again, and are the same."""
    world, _ = grown
    targets = ("router@moe", "samples@switched-pocket-dsg", "samples@composed-pocket-dsg")
    world.params["skills"]["spatial"]["lora"] = {"rank": 1}
    ran = set(world.repro(*targets))
    world.params["skills"]["spatial"]["lora"] = {}
    world.repro(*targets)
    gather = {"router_row@moe", "model_row@switched", "model_row@composed"}
    assert ran == {"lora@spatial"} | gather


def test_other_weights_of_a_judge_under_the_same_name_are_seen(grown):
    world, _ = grown
    with one_bit_changed(world.folder / "models/hub/vilt"):
        assert world.status() == {"judge_row@vilt"}
