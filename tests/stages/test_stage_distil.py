"""The stage distil trains a merge as params.yaml says, on the prompts and experts that it names."""

import hashlib

import pytest
from stage_world import run
from tiny_world import LAYER, tiny_params, write_expert, write_params, write_prompts

from selma.adapters.files import read_adapter, read_provenance
from selma.core.errors import AdapterMismatchError, ConfigError, MissingDataError

LORA = {
    "learning_rate": 0.05, "weight_decay": 0.0, "train_steps": 3, "batch_size": 2,
    "micro_batch_size": 4, "average_decay": None, "max_gradient_norm": 1.0,
    "checkpoint_every_steps": 1,
}  # fmt: skip
WAY = {"guidance_scale": 2.0, "inference_steps": 2, "points": 2}
ROW = {
    "student": "models/merged/both.safetensors", "kind": "composite",
    "weights": {"common": 1.0, "count": 3.0}, "guidance_scale": 2.0, "match": "guided",
    "trajectory": WAY, "lora": {},
}  # fmt: skip
OWN = {**{key: ROW[key] for key in ROW if key != "weights"}, "kind": "skill", "skills": ["count"]}
ARGUMENTS = (
    "--name mine --student models/experts/both.safetensors --experts models/experts "
    "--prompts data/prompts --out out/mine.safetensors --curve out/mine.csv"
)


@pytest.fixture
def folder(with_models):
    for number, skill in enumerate(("count", "common"), start=2):
        write_prompts(with_models, skill, number)
        write_expert(with_models, skill, strength=number)
    write_expert(with_models, "both", strength=2.5)
    return with_models


def train(folder, row=ROW, arguments=ARGUMENTS, **changes):
    """Distil; the adapter's one layer, and the rows of the loss curve."""
    params = tiny_params(**{"lora": LORA, **changes})
    write_params(folder, {**params, "distillations": {"mine": row}})
    run("distil", arguments)
    (layer,) = read_adapter(folder / "out/mine.safetensors").items()
    assert layer[0] == LAYER
    return layer[1], (folder / "out/mine.csv").read_text(encoding="utf-8").splitlines()


def test_it_writes_an_adapter_of_the_students_rank_and_a_curve(folder):
    layer, curve = train(folder)
    start = read_adapter(folder / "models/experts/both.safetensors")[LAYER]
    assert (layer.rank, layer.shape) == (start.rank, start.shape)
    assert not layer.delta().equal(start.delta())
    assert curve[0] == "step,loss,gradient_norm" and curve[-1].startswith("3,")


def test_stock_diffusers_loads_it(folder):
    from stage_world import stock_pipeline

    train(folder)
    pipeline = stock_pipeline(folder / "models/pocket/base")
    pipeline.load_lora_weights(folder / "out/mine.safetensors")
    layer = pipeline.unet.get_submodule(LAYER.removeprefix("unet."))
    found = layer.get_delta_weight("default_0")
    expected = read_adapter(folder / "out/mine.safetensors")[LAYER].delta()
    assert found.double().sub(expected).abs().max() < 1e-5


def test_it_says_how_it_was_made_and_of_which_files(folder):
    train(folder, seed=4)
    made = read_provenance(folder / "out/mine.safetensors")
    assert (made["name"], made["seed"], made["step"]) == ("mine", 4, 3)
    assert (made["lora"], made["base"]) == (LORA, "models/pocket/base")
    how = ("kind", "weights", "match", "guidance_scale", "trajectory")
    assert made["distillation"] == {key: ROW[key] for key in how}

    def sha256(name):
        return hashlib.sha256((folder / f"models/experts/{name}.safetensors").read_bytes())

    assert made["student"] == sha256("both").hexdigest()
    assert made["sha256"] == {s: sha256(s).hexdigest() for s in ("common", "count")}


def test_a_student_that_is_its_only_teacher_loses_nothing_and_stays_as_it_is(folder):
    arguments = ARGUMENTS.replace("both", "count")
    layer, curve = train(folder, OWN, arguments)
    assert curve[1:] == ["3,0.000000,0.000000"]  # the mean of the steps
    start = read_adapter(folder / "models/experts/count.safetensors")[LAYER]
    assert layer.delta().equal(start.delta())


def test_it_is_trained_on_its_skills_prompts_for_the_steps_of_its_row(folder, caplog):
    caplog.set_level("INFO", logger="selma")
    train(folder, {**ROW, "lora": {"train_steps": 2, "batch_size": 1}})
    assert "training mine on 5 prompts: 2 steps of 1, 256 weights" in caplog.text
    train(folder, OWN)
    assert "training mine on 2 prompts: 3 steps of 2, 256 weights" in caplog.text


def test_each_setting_of_a_row_reaches_the_training(folder):
    changes = [
        {}, {"weights": {"common": 1.0, "count": 1.0}}, {"guidance_scale": 4.0},
        {"match": "conditional"}, {"trajectory": {**WAY, "inference_steps": 3}},
        {"trajectory": {**WAY, "points": 1}}, {"trajectory": {**WAY, "guidance_scale": 1.0}},
        {"lora": {"learning_rate": 0.01}},
    ]  # fmt: skip
    found = [train(folder, {**ROW, **change})[0].delta() for change in changes]
    found.append(train(folder, {**OWN, "skills": ["count", "common"]})[0].delta())
    found.append(train(folder, seed=9)[0].delta())
    pairs = [(a, b) for place, a in enumerate(found) for b in found[:place]]
    assert not any(a.equal(b) for a, b in pairs)


def test_a_stage_that_dies_goes_on_from_its_checkpoint_to_the_same_bytes(folder):
    train(folder)
    whole = (folder / "out/mine.safetensors").read_bytes()
    (folder / "out/mine.csv").unlink()
    (folder / "out/mine.csv").mkdir()  # the curve cannot be put there: the stage dies at its end
    with pytest.raises(OSError):
        train(folder)
    assert list((folder / ".selma/work").glob("distil-mine-*/state.safetensors"))
    (folder / "out/mine.csv").rmdir()
    train(folder)
    assert (folder / "out/mine.safetensors").read_bytes() == whole


def test_what_is_missing_or_wrong_leaves_nothing_half_written(folder):
    with pytest.raises(ConfigError, match=r"distillations\.mine\.lora\.rank is not a known key"):
        train(folder, {**ROW, "lora": {"rank": 3}})
    (folder / "models/experts/count.safetensors").rename(folder / "kept")
    with pytest.raises(MissingDataError, match=r"experts/count\.safetensors: no such file"):
        train(folder)
    (folder / "kept").rename(folder / "models/experts/count.safetensors")
    write_expert(folder, "both", layer=LAYER.replace("to_v", "to_k"))
    with pytest.raises(AdapterMismatchError, match=r"common\.safetensors: .*to_v: is changed by"):
        train(folder)
    assert not (folder / "out").exists()
