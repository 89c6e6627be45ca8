"""The stage row writes what its row says and the content of what it names, and nothing else."""

import hashlib
from pathlib import Path

import pytest
from stage_world import read_json, run
from tiny_world import DISTILLATION, tiny_params, write_params

from selma.core.errors import ConfigError, MissingDataError


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def row(section, name, inputs):
    out = f"out/{section}/{name}.json"
    run("row", f"--section {section} --row {name} --inputs {inputs} --out {out}")
    return read_json(out)


def rows_by_model(section, name, inputs):
    """A row about pictures becomes a file for each model."""
    out = f"out/{section}/{name}"
    run("row", f"--section {section} --row {name} --inputs {inputs} samples --out {out}")
    return {path.stem: read_json(path) for path in Path(out).iterdir()}


def write_samples(folder, benchmark):
    for model in tiny_params()["models"]:
        put(folder / "samples" / model / f"{benchmark}.parquet", f"{model} draws {benchmark}")


@pytest.fixture
def folder(world):
    write_params(world, tiny_params())
    return world


def test_a_models_row_holds_the_hash_of_its_file(folder):
    put(folder / "models/merged/merged.safetensors", "weights")
    path = "models/merged/merged.safetensors"
    assert row("models", "merged", path) == {
        "row": {"weights": path},
        "files": {path: sha256("weights")},
    }


def test_a_folder_counts_with_all_its_files_and_their_names(folder):
    put(folder / "models/pocket/base/unet/a.json", "one")
    put(folder / "models/pocket/base/b.txt", "two")
    listing = f"{sha256('two')}  b.txt\n{sha256('one')}  unet/a.json\n"
    found = row("models", "base", "models/pocket/base")
    assert found["files"] == {"models/pocket/base": sha256(listing)}


def test_a_mixtures_row_holds_the_tables_of_its_own_skills_alone(folder):
    params = tiny_params()
    params["mixtures"]["mixture"]["skills"] = ["count", "common"]
    write_params(folder, params)
    for skill in ("count", "common", "attributes"):
        put(folder / "data/corrected" / f"{skill}.parquet", skill)
    found = row("mixtures", "mixture", "data/corrected")
    own = ("common", "count")
    assert found["files"] == {f"data/corrected/{skill}.parquet": sha256(skill) for skill in own}
    assert found["row"]["skills"] == ["count", "common"]


def test_a_routers_row_holds_the_pictures_and_experts_of_its_own_skills_alone(folder):
    params = tiny_params()
    params["routers"]["moe"] = {"skills": ["count", "common"], "top_k": 2, "lora": {}}
    write_params(folder, params)
    for skill in ("count", "common", "attributes"):
        put(folder / "data/corrected" / f"{skill}.parquet", skill)
        put(folder / "models/experts" / f"{skill}.safetensors", f"expert {skill}")
    found = row("routers", "moe", "data/corrected models/experts")["files"]
    assert found == {
        "data/corrected/common.parquet": sha256("common"),
        "data/corrected/count.parquet": sha256("count"),
        "models/experts/common.safetensors": sha256("expert common"),
        "models/experts/count.safetensors": sha256("expert count"),
    }


def test_a_distillations_row_holds_the_prompts_and_experts_of_its_own_skills_alone(folder):
    params = tiny_params()
    own_skill = {key: value for key, value in DISTILLATION.items() if key != "weights"}
    own_skill |= {"kind": "skill", "skills": ["count"]}
    params["distillations"] = {"one": DISTILLATION, "own": own_skill}
    write_params(folder, params)
    for skill in ("count", "common"):
        put(folder / "data/prompts" / f"{skill}.parquet", skill)
        put(folder / "models/experts" / f"{skill}.safetensors", f"expert {skill}")
    for name in ("one", "own"):
        assert row("distillations", name, "models/experts data/prompts")["files"] == {
            "data/prompts/count.parquet": sha256("count"),
            "models/experts/count.safetensors": sha256("expert count"),
        }


@pytest.mark.parametrize("how", [{"combine": "composite"}, {"combine": "switch", "every_steps": 2}])
def test_a_model_that_combines_experts_holds_its_own_experts_alone(folder, how):
    params = tiny_params()
    model = {"weights": "models/experts", "experts": ["count", "common"], **how}
    write_params(folder, {**params, "models": {"both": model}})
    for skill in ("count", "common", "attributes"):
        put(folder / "models/experts" / f"{skill}.safetensors", f"expert {skill}")
    assert row("models", "both", "models/experts") == {
        "row": model,
        "files": {
            "models/experts/common.safetensors": sha256("expert common"),
            "models/experts/count.safetensors": sha256("expert count"),
        },
    }
    (folder / "models/experts/count.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"models/experts/count\.safetensors: no such file"):
        row("models", "both", "models/experts")


def test_a_preferences_row_holds_settings_model_benchmark_and_each_models_pictures(folder):
    put(folder / "scorer/model.safetensors", "scorer")
    put(folder / "bench.parquet", "items")
    write_samples(folder, "pocket-dsg")
    found = rows_by_model("preferences", "hps", "scorer bench.parquet")
    assert found == {
        model: {
            "row": tiny_params()["preferences"]["hps"],
            "files": {
                "bench.parquet": sha256("items"),
                "scorer": sha256(f"{sha256('scorer')}  model.safetensors\n"),
            },
            "samples": sha256(f"{model} draws pocket-dsg"),
        }
        for model in tiny_params()["models"]
    }


def test_an_answers_row_holds_the_whole_row_of_its_judge_and_its_own_benchmarks_pictures(folder):
    put(folder / "selma/pocket/judge.py", "code")
    judge = row("judges", "pocket", "selma/pocket")
    assert judge["row"] == tiny_params()["judges"]["pocket"]
    put(folder / "bench.parquet", "items")
    for benchmark in ("pocket-dsg", "pocket-tifa"):
        write_samples(folder, benchmark)
    for name, benchmark in (("dsg", "pocket-dsg"), ("tifa", "pocket-tifa")):
        found = rows_by_model("answers", name, "out/judges/pocket.json bench.parquet")
        assert set(found) == set(tiny_params()["models"])
        for model, written in found.items():
            assert written == {
                "row": tiny_params()["answers"][name],
                "files": {"pocket": judge, "bench.parquet": sha256("items")},
                "samples": sha256(f"{model} draws {benchmark}"),
            }


def test_a_row_that_is_not_there_is_named(folder):
    with pytest.raises(ConfigError, match="models has no row 'nobody'"):
        row("models", "nobody", "bench.parquet")


def test_a_file_that_is_not_there_is_named_and_nothing_is_written(folder):
    with pytest.raises(MissingDataError, match=r"nowhere\.safetensors: no such file"):
        row("models", "merged", "nowhere.safetensors")
    assert not (folder / "out").exists()
