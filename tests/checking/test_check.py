"""`selma check`: all that would stop a run, one clear line each, before any work."""

import copy
import json
import shutil

import pytest
from tiny_world import (
    DISTILLATION,
    ROOT,
    SEARCH,
    shipped_params,
    write_benchmarks,
    write_dev_split,
    write_params,
)

from selma.checking.problems import MODEL_TYPES, find_problems
from selma.commands.cli import main
from selma.core.tables import read_table, write_table

PIPELINE = {"_class_name": "StableDiffusionPipeline"}
SCHEDULER = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000}
SCORERS = {
    "pickscore": {"model_type": "clip"},
    "hps": {"model_type": "clip"},
    "imagereward": {"reward_mean": 0.0},
}


def put(path, value=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def write_backbone(folder):
    put(folder / "model_index.json", PIPELINE)
    put(folder / "scheduler/scheduler_config.json", SCHEDULER)
    for part in ("unet", "vae", "text_encoder"):
        put(folder / part / "config.json", {})
        put(folder / part / "model.safetensors")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """What a check reads: models have configs and empty weights, for no weight is looked at."""
    for name in ("data/skills", "presets"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in shipped_params()["benchmarks"]:
        put(tmp_path / "data/benchmarks" / f"{name}.parquet")
    for name in ("base", "weak_base", "gligen"):
        write_backbone(tmp_path / "models/pocket" / name)
    for name, config in SCORERS.items():
        put(tmp_path / "models/pocket" / name / "config.json", config)
        put(tmp_path / "models/pocket" / name / "model.safetensors")
    put(tmp_path / "models/pocket/detector/model.safetensors")
    for code in ("selma/pocket", "selma/metrics", "selma/correction"):
        (tmp_path / code).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path


def problems(project, key="", value=None):
    """Check the pocket preset with the value at a dotted key changed."""
    params = copy.deepcopy(shipped_params())
    *places, last = key.split(".") if key else [""]
    section = params
    for place in places:
        section = section[place]
    if key:
        section[last] = value
    write_params(project, params)
    found = find_problems(project, project / "params.yaml")
    assert all("\n" not in problem for problem in found)
    return found


def only(project, key, value):
    (found,) = problems(project, key, value)
    return found


def has(text, *parts):
    lacking = [part for part in parts if part not in text]
    assert not lacking, text
    return True


def test_a_sound_project_has_no_problem_and_is_left_as_it_is(project, capsys):
    assert problems(project) == []
    before = sorted(project.rglob("*"))
    assert main(["check"]) == 0
    assert "no problems" in capsys.readouterr().out
    assert sorted(project.rglob("*")) == before


def test_the_command_says_each_problem_on_a_line_of_its_own(project, capsys):
    params = shipped_params()
    params["merges"]["merged"]["method"] = "delta_maen"
    params["measures"]["dsg"]["policy"] = "strict"
    write_params(project, params)
    (project / "data/skills/count.yaml").unlink()
    for name in ("base", "gligen"):
        shutil.rmtree(project / "models/pocket" / name)
    assert main(["check"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("selma: error: ") for line in lines)
    for part in (
        "merges.merged: unknown merge method 'delta_maen' (did you mean 'delta_mean'?)",
        "measures.dsg.policy: unknown dsg policy 'strict'",
        "skills.count.instructions: ",
        "backbone.path: models/pocket/base: no such",
        "models.base.weights: models/pocket/base: no such",
        "correct.editor.path: models/pocket/gligen: no such",
    ):
        assert sum(part in line for line in lines) == 1, part
    assert len(lines) == 6


ENDPOINT = {"kind": "endpoint", "model": "gpt-4o", "path": "selma/judges"}


def test_a_hosted_llm_or_judge_without_a_key(project, monkeypatch):
    assert has(only(project, "llm.backend", "openai"), "llm: OPENAI_API_KEY is not set")
    (project / "selma/judges").mkdir()
    judge = {**shipped_params()["judges"]["pocket"], **ENDPOINT}
    assert has(only(project, "judges.pocket", judge), "judges.pocket: OPENAI_API_KEY is not set")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert problems(project, "judges.pocket", judge) == []
    assert has(only(project, "judges.pocket", {**judge, "model": None}), "judges.pocket.model")


def test_what_a_source_or_a_rater_names_is_looked_for(project):
    for key in ("sources.backbone.path", "raters.pickscore.path"):
        assert has(only(project, key, "nothing"), f"{key}: nothing: no such file or folder")
    unknown = "images.source names 'sefl', not in sources; known: self, backbone, truth"
    assert has(only(project, "images.source", "sefl"), unknown)
    thresholds = {"faithful": 0.5}
    found = only(project, "sources.best_of.best_of.thresholds", thresholds)
    assert has(found, "sources.best_of.best_of names 'faithful', not in raters")


def test_a_skills_own_numbers_are_checked_too(project):
    found = only(project, "skills.count.images", {"inference_steps": 2000})
    assert has(found, "skills.count.images.inference_steps", "less than or equal to 1000")


def test_a_folder_of_another_family(project):
    put(project / "models/pocket/base/model_index.json", {"_class_name": "FluxPipeline"})
    (found,) = problems(project)
    assert has(found, "backbone.path", "is a FluxPipeline", "StableDiffusionPipeline")


def test_a_folder_that_lacks_parts_of_its_family(project):
    xl = {"_class_name": "StableDiffusionXLPipeline"}
    put(project / "models/pocket/base/model_index.json", xl)
    assert has(problems(project)[0], "text_encoder_2", "missing")


def test_an_unknown_scheduler(project):
    config = {**SCHEDULER, "_class_name": "LCMScheduler"}
    put(project / "models/pocket/base/scheduler/scheduler_config.json", config)
    assert has(problems(project)[0], "unknown noise scheduler 'LCMScheduler'", "DDIMScheduler")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_part_of_the_backbone_in_bin_only(project, part):
    folder = project / "models/pocket/base" / part
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert has(problems(project)[0], f"base/{part}: holds no .safetensors")


@pytest.mark.parametrize("part", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_a_config_of_the_backbone_that_is_not_there_or_no_json(project, part):
    path = project / "models/pocket/base" / part
    path.write_text("{", encoding="utf-8")
    assert has(problems(project)[0], "backbone.path", part)
    path.unlink()
    assert has(problems(project)[0], "backbone.path", part)


def test_a_backbone_that_is_compared_is_looked_into_too(project):
    write_backbone(project / "models/other")
    model = {"weights": "models/other"}
    assert problems(project, "models.other", model) == []
    (project / "models/other/unet/model.safetensors").unlink()
    assert has(only(project, "models.other", model), "models.other.weights", "unet: holds no")


def test_a_sampler_that_does_not_fit_the_backbone_or_whose_grammar_is_not_there(project):
    unet = {
        "sample_size": 8, "block_out_channels": [64, 128],
        "down_block_types": ["CrossAttnDownBlock2D"] * 2,
        "up_block_types": ["CrossAttnUpBlock2D"] * 2,
    }  # fmt: skip
    put(project / "models/pocket/base/unet/config.json", unet)
    found = {"kind": "pocket", "model": None}
    sampler = {"kind": "syngen", "phrases": found, "map_size": 4, "step_size": 1.0}
    sampler["steps_share"] = 0.5
    model = {"weights": "models/merged/merged.safetensors", "sampler": sampler}
    assert problems(project, "models.other", model) == []
    for changes, words in (
        ({"map_size": 16}, "has maps of 16 rows; choose of: 4, 8"),
        ({"phrases": {"kind": "spacy", "model": "en_no"}}, "spacy download en_no"),
        ({"phrases": {"kind": "spacy", "model": None}}, "needs the name of a pipeline"),
    ):
        other = {**model, "sampler": {**sampler, **changes}}
        assert has(only(project, "models.other", other), "models.other.sampler: ", words)
    write_backbone(project / "models/other")
    put(project / "models/other/model_index.json", {"_class_name": "StableDiffusion3Pipeline"})
    other = {**model, "weights": "models/other"}
    (found,) = (one for one in problems(project, "models.other", other) if ".sampler: " in one)
    assert has(found, "sampler 'syngen' needs a U-Net", "StableDiffusion3 has none")


def test_weights_that_are_no_adapters_file(project):
    put(project / "models/lora.bin")
    found = only(project, "models.other", {"weights": "models/lora.bin"})
    assert has(found, "models.other.weights", "models/lora.bin", ".safetensors")


def test_a_weights_file_that_no_row_makes(project):
    found = only(project, "models.other", {"weights": "models/experts/cuont.safetensors"})
    assert has(found, "models.other.weights", "made by no row of skills", "count")


def test_a_router_with_more_experts_a_token_than_it_has_or_a_skill_twice(project):
    row = {"skills": ["count", "common"], "top_k": 2, "lora": {}}
    assert problems(project, "routers.moe", row) == []
    found = only(project, "routers.moe", {**row, "top_k": 3})
    assert has(found, "routers.moe: top_k: expected 1 to 2, the number of skills; got 3")
    found = only(project, "routers.moe", {**row, "skills": ["count", "count"]})
    assert has(found, "routers.moe: skills: count, count: one is named twice")
    found = only(project, "routers.moe", {**row, "lora": {"rank": 4}})
    assert has(found, "routers.moe.lora.rank is not a known key")
    found = only(project, "routers.count", row)
    assert has(found, "'count' is a row of skills and of routers; rename one")


def test_a_model_of_a_router_that_no_row_makes(project):
    found = only(project, "models.other", {"weights": "models/routers/moe.safetensors"})
    assert has(found, "models.other.weights", "made by no row of routers; rows: none")


COMBINED = {"weights": "models/experts", "experts": ["count", "common"]}
SWITCH = {**COMBINED, "combine": "switch", "every_steps": 1}
COMPOSITE = {**COMBINED, "combine": "composite"}


@pytest.mark.parametrize("row", [SWITCH, COMPOSITE], ids=["switch", "composite"])
def test_experts_that_a_model_combines_are_made_by_rows_or_there(project, row):
    assert problems(project, "models.other", row) == []
    found = only(project, "models.other", {**row, "experts": ["count", "cuont"]})
    path = "models/experts/cuont.safetensors"
    assert has(found, f"models.other.experts: {path} is made by no row of skills; rows: ", "count")
    elsewhere = {**row, "weights": "models/mine"}
    put(project / "models/mine/count.safetensors")
    found = only(project, "models.other", elsewhere)
    assert has(found, "models.other.experts: models/mine/common.safetensors: no such file")
    put(project / "models/mine/common.safetensors")
    assert problems(project, "models.other", elsewhere) == []


def test_numbers_out_of_bounds_are_told_with_key_value_and_bound(project):
    for key, value, parts in (
        ("images.inference_steps", 2000, ["less than or equal to 1000", "2000"]),
        ("samples.inference_steps", 2000, ["less than or equal to 1000", "2000"]),
        ("threads", 1_000_000, ["1000000"]),
        ("lora.rank", 1e21, ["integer", "1e+21"]),
        ("lora.rank", 10**21, ["less than or equal to 4096"]),
        ("lora.learning_rate", 1e30, ["less than or equal to"]),
        ("lora.weight_decay", 1e30, ["less than or equal to"]),
        ("merges.merged.scale", 1e30, ["less than or equal to"]),
        ("compare.confidence", 1.0, ["less than 1"]),
        ("seed", -1, ["greater than or equal to 0"]),
        ("samples.guidance_scale", float("nan"), ["finite"]),
    ):
        assert has(only(project, key, value), key, *parts)


def test_more_threads_than_processors(project):
    assert has(only(project, "threads", 900), "threads: 900 are more than the")


def test_steps_that_the_noise_scheduler_does_not_have(project):
    config = {**SCHEDULER, "num_train_timesteps": 10}
    put(project / "models/pocket/base/scheduler/scheduler_config.json", config)
    assert has(only(project, "seed", 0), "inference_steps: 12 are more than the 10")
    found = only(project, "skills.count.images", {"inference_steps": 900})
    assert has(found, "backbone.path", "900 are more than the 10")


def test_a_scorers_path_that_holds_another_scorer(project):
    path = "preferences.pickscore.path"
    found = only(project, path, "models/pocket/imagereward")
    assert has(found, path, "imagereward", "pickscore")
    found = only(project, "preferences.imagereward.path", "models/pocket/hps")
    assert has(found, "preferences.imagereward.path", "clip")
    origin = {"metric": "hps", "version": "v2.1", "source_file": "f", "source_sha256": "0",
              "resize": "pillow"}  # fmt: skip
    put(project / "models/pocket/pickscore/selma.json", origin)
    assert has(only(project, path, "models/pocket/pickscore"), path, "'hps'", "'pickscore'")


def test_a_scorer_in_bin_only_an_unknown_kind_and_version(project):
    found = only(project, "preferences.hps.kind", "pikscore")
    assert has(found, "preferences.hps.kind: unknown scorer 'pikscore'", "pickscore")
    assert has(only(project, "preferences.hps.version", "v9"), "preferences.hps", "v9")
    assert has(only(project, "preferences.pickscore.version", "v1"), "preferences.pickscore", "v1")
    found = only(project, "preferences.hps.version", "v2.1")
    assert has(found, "preferences.hps.version", "models/pocket/hps holds HPS pocket", "'v2.1'")
    folder = project / "models/pocket/hps"
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert has(problems(project)[0], "preferences.hps.path", "holds no .safetensors")


def test_an_unknown_pocket_model(project):
    assert has(only(project, "llm.model", "pocket-poet"), "llm: unknown", "'pocket-poet'")
    assert has(only(project, "llm.revision", "7"), "llm", "revision", "'7'")


def test_a_judge_with_weights_is_looked_into(project):
    judge = {**shipped_params()["judges"]["pocket"], "kind": "vilt", "path": "models/vilt"}
    assert has(only(project, "judges.pocket", judge), "judges.pocket.path: models/vilt: no such")
    put(project / "models/vilt/config.json", {"model_type": "blip"})
    put(project / "models/vilt/model.safetensors")
    found = only(project, "judges.pocket", judge)
    assert has(found, "judges.pocket.path", "'blip'", "'vilt'")
    put(project / "models/vilt/config.json", {"model_type": "vilt"})
    assert problems(project, "judges.pocket", judge) == []
    for key, value in (("kind", "vlit"), ("normalise", "lower")):
        found = only(project, "judges.pocket", {**judge, key: value})
        assert has(found, f"judges.pocket.{key}: unknown", f"'{value}'")


@pytest.mark.parametrize("kind", ["blip2", "instructblip"])
def test_a_t5_judge_in_float16_is_refused_as_by_its_loader(project, kind):
    judge = {**shipped_params()["judges"]["pocket"], "kind": kind, "path": "models/judge"}
    config = {"model_type": MODEL_TYPES[kind], "text_config": {"model_type": "t5"}}
    put(project / "models/judge/config.json", config)
    put(project / "models/judge/model.safetensors")
    found = only(project, "judges.pocket", {**judge, "dtype": "float16"})
    assert has(found, "judges.pocket.dtype: ", "models/judge: T5 overflows in float16")
    assert problems(project, "judges.pocket", {**judge, "dtype": "bfloat16"}) == []
    put(project / "models/judge/config.json", {**config, "text_config": {"model_type": "opt"}})
    assert problems(project, "judges.pocket", {**judge, "dtype": "float16"}) == []


def test_mplug_is_looked_for_under_the_names_of_its_release(project):
    judge = {**shipped_params()["judges"]["pocket"], "kind": "mplug", "path": "models/mplug"}
    judge["revision"] = None
    for name in ("configuration.json", "config.yaml", "vocab.txt"):
        put(project / "models/mplug" / name)
    assert has(only(project, "judges.pocket", judge), "models/mplug/pytorch_model.bin: no such")
    put(project / "models/mplug/pytorch_model.bin")
    assert problems(project, "judges.pocket", judge) == []


@pytest.mark.parametrize(
    ("key", "value", "section"),
    [
        ("merges.merged.weights", {"spatial": 1.0}, "skills"),
        ("mixtures.mixture.skills", ["spatial"], "skills"),
        ("routers.moe", {"skills": ["spatial"], "top_k": 1, "lora": {}}, "skills"),
        ("answers.dsg.judge", "nobody", "judges"),
        ("answers.dsg.benchmark", "nothing", "benchmarks"),
        ("measures.dsg.answers", "none", "answers"),
        ("preferences.hps.benchmark", "nothing", "benchmarks"),
        ("compare.subject", "nobody", "models"),
        ("compare.reference", "nobody", "models"),
        ("compare.against", ["nobody"], "models"),
        ("report.measure", "nothing", "measures"),
    ],
)
def test_names_that_are_no_row(project, key, value, section):
    found = only(project, key, value)
    value = value.get("skills", value) if isinstance(value, dict) else value
    name = next(iter(value)) if not isinstance(value, str) else value
    assert has(found, key, repr(name), f"not in {section}", "known: ")


def test_templates_policies_and_mappings_that_do_not_exist(project):
    for key, value in (
        ("answers.dsg.template", "bear"),
        ("measures.dsg.mean", "median"),
        ("measures.tifa.mapping", "fuzzy"),
    ):
        assert has(only(project, key, value), f"{key}: unknown", f"'{value}'")


def test_a_measure_by_sentences_needs_its_encoder(project):
    measure = {**shipped_params()["measures"]["tifa"], "mapping": "sbert", "path": "models/sbert"}
    found = only(project, "measures.tifa", measure)
    assert has(found, "measures.tifa.path: models/sbert: no such")


def test_a_benchmark_that_is_not_there(project):
    assert has(only(project, "benchmarks.second", {}), "benchmarks.second", "selma import")


def test_instructions_of_a_skill_that_are_not_there_or_wrong(project):
    key = "skills.count.instructions"
    assert has(only(project, key, "data/skills/no.yaml"), key, "no.yaml")
    put(project / "data/skills/bad.yaml", "version: 1\nskill: bad\n")
    found = only(project, key, "data/skills/bad.yaml")
    assert has(found, key, "instructions is missing", "seed_prompts is missing")


def test_two_rows_that_would_write_one_file(project):
    params = shipped_params()
    params["preferences"]["dsg"] = params["preferences"].pop("hps")
    write_params(project, params)
    (found,) = find_problems(project, project / "params.yaml")
    assert has(found, "'dsg' is a row of measures and of preferences")


def test_a_merge_whose_weights_or_scale_leave_nothing(project):
    weights = dict.fromkeys(shipped_params()["skills"], 0.0)
    assert has(only(project, "merges.merged.weights", weights), "merges.merged", "all are 0")
    assert has(only(project, "merges.merged.scale", 0.0), "merges.merged", "scale")


def test_a_preset_that_is_wrong_is_named(project):
    path = project / "presets/sd2.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "extra: 1\n", encoding="utf-8")
    (found,) = problems(project)
    assert has(found, "sd2.yaml", "extra is not a known key")


def test_params_that_are_no_yaml_or_not_there(project, capsys):
    (project / "params.yaml").write_text("lora: {rank: 1\n", encoding="utf-8")
    assert main(["check"]) == 2
    assert main(["check", "--params", "no.yaml"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert has(first, "params.yaml", "not valid YAML", "line")
    assert has(second, "no.yaml: no such file")


def with_dev_split(project, *prompts):
    write_benchmarks(project)
    shutil.rmtree(project / "data/dev", ignore_errors=True)
    write_dev_split(project)
    if prompts:
        path = project / "data/dev/pocket-dsg.parquet"
        rows = read_table(path, "benchmark")
        changed = [{**row, "prompt": prompt} for row, prompt in zip(rows, prompts, strict=False)]
        write_table(path, "benchmark", [*changed, *rows[len(prompts) :]])


def test_a_sound_search_and_fits_have_no_problem(project):
    with_dev_split(project)
    assert problems(project, "searches", {"mine": SEARCH}) == []
    weights = dict.fromkeys(("count", "common"), 1.0)
    regmean = {"kind": "regmean", "weights": weights, "scale": 1.0, "rank": None}
    cat = {"kind": "cat", "skills": ["count"], "lora": {"train_steps": 5}}
    fits = {"one": {**regmean, "off_diagonals": 0.9}, "two": cat}
    assert problems(project, "fits", fits) == []


def test_a_dev_prompt_that_stands_in_a_benchmark(project):
    with_dev_split(project)
    (row, *_) = read_table(project / "data/benchmarks/pocket-tifa.parquet", "benchmark")
    with_dev_split(project, row["prompt"].upper())
    found = only(project, "searches", {"mine": SEARCH})
    assert has(found, "searches.mine.benchmark: ", "dev/pocket-dsg.parquet", "1 of its",
               f"= pocket-tifa/{row['item_id']}", row["prompt"].upper())  # fmt: skip


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"method": "delta_maen"}, ["searches.mine: unknown merge method 'delta_maen'"]),
        ({"sampler": "tpee"}, ["searches.mine: unknown search sampler 'tpee'", "cmaes"]),
        ({"template": "beer"}, ["searches.mine.template: unknown judge template 'beer'"]),
        ({"skills": ["cuont"]}, ["searches.mine.skills names 'cuont', not in skills"]),
        ({"judge": "mplug"}, ["searches.mine.judge names 'mplug', not in judges; known: pocket"]),
        ({"benchmark": "nothing"}, ["searches.mine.benchmark: ", "dev/nothing.parquet: no such"]),
        ({"measure": {**SEARCH["measure"], "policy": "strict"}},
         ["searches.mine.measure.policy: unknown dsg policy 'strict'"]),
        ({"measure": {**SEARCH["measure"], "path": "nothing"}},
         ["searches.mine.measure.path: nothing: no such"]),
        ({"measure": {**SEARCH["measure"], "no_answer_max": 2.0}},
         ["searches.mine.measure.no_answer_max: input should be less than or equal to 1"]),
        ({"weights": {"low": 0.0, "high": 1.0, "step": 0.5}}, ["searches.mine.weights.low", "0"]),
        ({"weights": {"low": 0.1, "high": 1.0, "step": 0.2}}, ["searches.mine.weights", "whole"]),
        ({"weights": {"low": 1.0, "high": 0.5, "step": 0.1}}, ["searches.mine.weights", "above"]),
        ({"samples": {"inference_steps": 2000}}, ["searches.mine.samples.inference_steps"]),
        ({"skills": ["count", "count"]}, ["searches.mine.skills: ", "names count twice"]),
        ({"scale": {"low": 0.0, "high": 1.0, "step": 0.5}},
         ["searches.mine: scale: 0 to 1 contains 0"]),
        ({"scale": {"low": -1.0, "high": 1.0, "step": 2.0}},
         ["searches.mine: scale: -1 to 1 contains 0"]),
        ({"method": "ties", "parameters": {"density": {"low": 0.0, "high": 0.5, "step": 0.25}}},
         ["searches.mine: parameters.density.low: ", "above 0", "got 0.0"]),
        ({"method": "ties", "parameters": {"density": {"low": 0.5, "high": 1.5, "step": 0.25}}},
         ["searches.mine: parameters.density.high: ", "at most 1", "got 1.5"]),
        ({"skills": ["count"], "scale": 1.0}, ["searches.mine: skills: weights.count alone"]),
        ({"skills": ["count"], "scale": 1.0, "sampler": "cmaes"}, ["weights.count alone"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_search(project, change, parts):
    with_dev_split(project)
    assert has(only(project, "searches", {"mine": {**SEARCH, **change}}), *parts)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"kind": "cat", "skills": ["cuont"], "lora": {}}, ["fits.mine.skills names 'cuont'"]),
        ({"kind": "cat", "skills": ["count"], "lora": {"rank": 3}},
         ["fits.mine.lora.rank is not a known key"]),
        ({"kind": "regmean", "weights": {"cuont": 1.0}, "scale": 1.0, "off_diagonals": 1.0,
          "rank": None}, ["fits.mine.weights names 'cuont'"]),
        ({"kind": "regmean", "weights": {"count": 1.0}, "scale": 1.0, "off_diagonals": 1.1,
          "rank": None}, ["fits.mine.off_diagonals: input should be less than or equal to 1"]),
        ({"kind": "regmean", "weights": {"count": 1.0}, "scale": 0.0, "off_diagonals": 1.0,
          "rank": None}, ["fits.mine.scale: ", "nothing is left to merge"]),
        ({"kind": "cat", "skills": ["count", "count"], "lora": {}},
         ["fits.mine.skills: ", "names count twice"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_fit(project, row, parts):
    assert has(only(project, "fits", {"mine": row}), *parts)


def test_a_fit_of_a_skills_name_would_have_its_curve(project):
    row = {"kind": "cat", "skills": ["count"], "lora": {}}
    assert has(only(project, "fits", {"count": row}), "'count' is a row of skills and of fits")


def test_a_sound_distillation_has_no_problem(project):
    own = {key: value for key, value in DISTILLATION.items() if key != "weights"}
    own |= {"kind": "skill", "skills": ["count", "common"], "match": "conditional"}
    rows = {"one": DISTILLATION, "two": {**own, "student": "models/distilled/one.safetensors"}}
    assert problems(project, "distillations", rows) == []


WAY = DISTILLATION["trajectory"]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"weights": {"cuont": 1.0}}, ["distillations.mine.weights names 'cuont', not in skills"]),
        ({"weights": {"count": 0.0}}, ["distillations.mine.weights.count: ", "greater than 0"]),
        ({"kind": "swich"}, ["distillations.mine", "'composite', 'skill'"]),
        ({"skills": ["count"]}, ["distillations.mine.skills is not a known key"]),
        ({"match": "both"}, ["distillations.mine.match", "'guided' or 'conditional'"]),
        ({"student": "models/merged/nothing.safetensors"},
         ["distillations.mine.student: ", "is made by no row of merges; rows: merged"]),
        ({"student": "elsewhere/s.safetensors"},
         ["distillations.mine.student: elsewhere/s.safetensors: no such"]),
        ({"guidance_scale": 1.5}, ["distillations.mine: ", "guidance_scale is 1.5, below the stu"]),
        ({"trajectory": {**WAY, "points": 3}},
         ["distillations.mine.trajectory: ", "points are 3, more than the 2 inference_steps"]),
        ({"trajectory": {**WAY, "inference_steps": 1001}},
         ["distillations.mine.trajectory.inference_steps: ", "less than or equal to 1000"]),
        ({"lora": {"rank": 3}}, ["distillations.mine.lora.rank is not a known key"]),
        ({"lora": {"select": None}}, ["distillations.mine.lora.select is not a known key"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_distillation(project, change, parts):
    assert has(only(project, "distillations", {"mine": {**DISTILLATION, **change}}), *parts)


def test_weights_that_a_fit_a_search_or_a_distillation_makes(project):
    for section, folder in (
        ("fits", "fits"), ("searches", "searches"), ("distillations", "distilled")
    ):  # fmt: skip
        found = only(project, "models.other", {"weights": f"models/{folder}/mine.safetensors"})
        assert has(found, f"is made by no row of {section}; rows: none")


def test_the_models_that_correct_are_there_and_known(project):
    section = copy.deepcopy(shipped_params()["correct"])
    section["detector"] |= {"kind": "owl", "path": "models/hub/owl"}
    section["segmenter"]["kind"] = "scissors"
    found = "\n".join(problems(project, "correct", section))
    assert has(found, "correct.detector.kind", "owlv2")
    assert has(found, "correct.segmenter.kind", "contrast")
    assert has(found, "correct.detector.path", "models/hub/owl", "dvc pull")


def test_with_rounds_a_path_that_stands_for_no_model_is_told(project):
    section = copy.deepcopy(shipped_params()["correct"])
    section["editor"]["path"] = "selma/correction"
    assert problems(project, "correct", section) == []
    found = only(project, "correct", {**section, "rounds": 1})
    assert has(found, "correct.editor.path", "holds no .safetensors")
