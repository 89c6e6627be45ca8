"""The stage router trains gates as params.yaml says, on the experts and pictures that it names."""

import hashlib
import shutil

import pytest
from safetensors import safe_open
from stage_world import run
from tiny_world import tiny_params, write_expert, write_images, write_params

from selma.adapters.files import read_adapter
from selma.adapters.routers import read_router
from selma.core.errors import AdapterMismatchError, ConfigError, MissingDataError

LORA = {
    "rank": 2, "learning_rate": 0.05, "weight_decay": 0.0, "train_steps": 3, "batch_size": 2,
    "micro_batch_size": 2, "targets": None, "min_snr_gamma": None, "average_decay": None,
    "flip": False, "max_gradient_norm": 1.0, "checkpoint_every_steps": 1,
}  # fmt: skip
ROW = {"skills": ["count", "common"], "top_k": 2, "lora": {}}
LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v"


@pytest.fixture
def folder(with_models):
    for number, skill in enumerate(("count", "common"), start=2):
        write_images(with_models, skill, number)
        write_expert(with_models, skill, strength=number)
    return with_models


def train(folder, *, row=None, name="moe", **changes):
    """Train; the router, and the rows of the loss curve."""
    params = tiny_params(**{"lora": LORA, **changes})
    params["routers"] = {name: row or ROW}
    write_params(folder, params)
    arguments = f"--name {name} --images data/images --experts models/experts"
    run("router", f"{arguments} --out out/{name}.safetensors --curve out/{name}.csv")
    lines = (folder / f"out/{name}.csv").read_text(encoding="utf-8").splitlines()
    return read_router(folder / f"out/{name}.safetensors"), lines


def test_the_file_holds_the_experts_as_they_are_and_the_gates_that_were_trained(folder):
    router, curve = train(folder)
    assert (router.experts, router.top_k) == (["common", "count"], 2)
    assert list(router.layers) == list(router.gates) == [LAYER]
    for skill in router.experts:
        expert = read_adapter(folder / f"models/experts/{skill}.safetensors")[LAYER]
        lora_a, lora_b = router.layers[LAYER][skill]
        assert lora_a.equal(expert.lora_a) and lora_b.equal(expert.lora_b * expert.scale)
    assert router.gates[LAYER].shape == (2, 96) and bool(router.gates[LAYER].any())
    assert curve[0] == "step,loss,gradient_norm" and curve[-1].startswith("3,")


def test_it_says_how_it_was_made_and_of_which_files(folder):
    made = train(folder, seed=4)[0].provenance
    assert (made["name"], made["seed"], made["base"]) == ("moe", 4, "models/pocket/base")
    assert made["lora"] == {
        key: value for key, value in {**LORA, "select": None}.items()
        if key not in ("rank", "targets")
    }  # fmt: skip
    assert made["step"] == 3
    for skill in ("count", "common"):
        data = (folder / f"models/experts/{skill}.safetensors").read_bytes()
        assert made["sha256"][skill] == hashlib.sha256(data).hexdigest()


def test_it_is_trained_on_its_skills_pictures_for_the_steps_of_its_row(folder, caplog):
    caplog.set_level("INFO", logger="selma")
    _, curve = train(folder, row={**ROW, "lora": {"train_steps": 2, "batch_size": 1}})
    assert "training moe on 5 pictures: 2 steps of 1, 192 weights" in caplog.text
    assert curve[-1].startswith("2,")


def test_the_order_of_the_skills_changes_no_byte(folder):
    train(folder)
    first = (folder / "out/moe.safetensors").read_bytes()
    train(folder, row={**ROW, "skills": ["common", "count"]})
    assert (folder / "out/moe.safetensors").read_bytes() == first


def test_top_k_reaches_the_layers(folder):
    # one expert a token: where its share is 1 whatever the gate, no gate has a gradient
    _, curve = train(folder, row={**ROW, "top_k": 1, "lora": {"learning_rate": 10.0}})
    two, _ = train(folder)
    one, _ = train(folder, row={**ROW, "top_k": 1})
    assert (one.top_k, two.top_k) == (1, 2)
    assert not one.gates[LAYER].equal(two.gates[LAYER])


def test_a_stage_that_dies_goes_on_from_its_checkpoint_to_the_same_bytes(folder):
    train(folder)
    whole = (folder / "out/moe.safetensors").read_bytes()
    (folder / "out/moe.csv").unlink()
    (folder / "out/moe.csv").mkdir()  # the curve cannot be put there: the stage dies at its end
    with pytest.raises(OSError):
        train(folder)
    (state,) = (folder / ".selma/work").glob("router-moe-*/state.safetensors")
    with safe_open(state, framework="pt") as handle:
        assert '"step": 3' in handle.metadata()["state"]
    (folder / "out/moe.csv").rmdir()
    train(folder)
    assert (folder / "out/moe.safetensors").read_bytes() == whole
    assert not state.exists()


def test_another_experts_file_is_another_training(folder):
    first, _ = train(folder)
    write_expert(folder, "count", strength=9.0)
    assert not train(folder)[0].gates[LAYER].equal(first.gates[LAYER])


def test_what_is_missing_or_wrong_leaves_nothing_half_written(folder):
    shutil.copytree(folder / "models/experts", folder / "kept")
    (folder / "models/experts/count.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"experts/count\.safetensors: no such file"):
        train(folder)
    with pytest.raises(ConfigError, match="top_k: expected 1 to 1, the number of skills; got 2"):
        train(folder, row={**ROW, "skills": ["common"]})
    with pytest.raises(ConfigError, match=r"routers\.moe\.lora\.rank is not a known key"):
        train(folder, row={**ROW, "lora": {"rank": 3}})
    layer = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    shutil.copy(folder / "kept/count.safetensors", folder / "models/experts")
    write_expert(folder, "common", layer=layer)
    with pytest.raises(AdapterMismatchError, match=rf"{layer}: is a layer of text_encoder; exp"):
        train(folder)
    assert not (folder / "out").exists()
