"""The stage samples draws a benchmark with the model that a row names."""

import shutil

import pytest
from stage_world import item, pixels, rows_of, run, stock_picture, stock_pipeline, write_benchmark
from tiny_world import tiny_params, write_expert, write_params

from selma.adapters.files import read_adapter
from selma.core.errors import AdapterMismatchError, MissingDataError
from selma.core.seeds import derive_seed

DRAWING = {"per_prompt": 1, "guidance_scale": 2.0, "inference_steps": 2, "batch_size": 3}
HOW = {key: DRAWING[key] for key in ("guidance_scale", "inference_steps")}
MODELS = {
    "plain": {"weights": "models/pocket/base"},
    "taught": {"weights": "models/experts/count.safetensors"},
    "other": {"weights": "other"},
    "switch": {
        "weights": "models/experts", "experts": ["count", "common"], "combine": "switch",
        "every_steps": 1,
    },
    "late": {
        "weights": "models/experts", "experts": ["count", "common"], "combine": "switch",
        "every_steps": 9,
    },
    "composite": {
        "weights": "models/experts", "experts": ["count", "count"], "combine": "composite",
    },
    "moe": {"weights": "models/routers/moe.safetensors"},
    "structured": {
        "weights": "models/experts/count.safetensors",
        "sampler": {"kind": "structure_diffusion", "phrases": {"kind": "pocket", "model": None}},
    },
}  # fmt: skip


@pytest.fixture
def folder(with_models):
    write_expert(with_models, "count")
    write_benchmark("first", item("a", "two red stars"), item("b", "a blue heart"))
    write_benchmark("second", item("c", "a green ring"))
    return with_models


def draw(folder, model, benchmark="first", **changes):
    write_params(folder, {**tiny_params(**{"samples": DRAWING, **changes}), "models": MODELS})
    arguments = f"--model {model} --benchmark data/benchmarks/{benchmark}.parquet"
    run("samples", f"{arguments} --out out.parquet")
    return rows_of("out.parquet", "samples")


def difference(row, expected):
    return abs(pixels(row) - expected).max()


def keys(rows):
    return [(row["item_id"], row["sample"]) for row in rows]


def test_each_item_of_the_benchmark_is_drawn_with_seeds_that_know_no_model(folder):
    rows = draw(folder, "plain", samples={**DRAWING, "per_prompt": 2}, seed=5)
    assert keys(rows) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    expected = [derive_seed(5, "samples", "first", *key) for key in keys(rows)]
    assert [row["seed"] for row in rows] == expected
    taught = draw(folder, "taught", samples={**DRAWING, "per_prompt": 2}, seed=5)
    assert [row["seed"] for row in taught] == expected
    assert [row["prompt"] for row in rows[::2]] == ["two red stars", "a blue heart"]
    assert draw(folder, "plain", samples={**DRAWING, "first": 1}, seed=5) == rows[1::2]


def test_the_benchmark_is_the_argument_and_part_of_the_seed(folder):
    (row,) = draw(folder, "plain", "second")
    assert (row["item_id"], row["prompt"]) == ("c", "a green ring")
    assert row["seed"] == derive_seed(0, "samples", "second", "c", 0)


@pytest.mark.parametrize("changes", [{}, {"guidance_scale": 5.0}, {"inference_steps": 4}], ids=str)
def test_a_backbone_alone_draws_as_stock_diffusers_with_the_scale_and_steps_of_params(
    folder, changes
):
    row = draw(folder, "plain", samples={**DRAWING, **changes})[0]
    pipeline = stock_pipeline("models/pocket/base")
    expected = stock_picture(pipeline, row["prompt"], row["seed"], **{**HOW, **changes})
    assert difference(row, expected) <= 1


def test_an_adapter_is_added_to_the_backbones_weights(folder):
    row = draw(folder, "taught")[0]
    pipeline = stock_pipeline("models/pocket/base")
    plain = stock_picture(pipeline, row["prompt"], row["seed"], **HOW)
    ((name, layer),) = read_adapter(folder / "models/experts/count.safetensors").items()
    pipeline.unet.get_submodule(name.removeprefix("unet.")).weight.data += layer.delta().float()
    expected = stock_picture(pipeline, row["prompt"], row["seed"], **HOW)
    assert difference(row, expected) <= 1
    assert abs(plain - expected).max() > 3


def test_a_switch_draws_with_the_experts_of_its_row_by_turns(folder):
    write_expert(folder, "common", strength=-3.0)
    alone, switched, late = (draw(folder, model)[0] for model in ("taught", "switch", "late"))
    assert late["image"]["bytes"] == alone["image"]["bytes"]  # two steps in all: the first alone
    assert difference(switched, pixels(alone)) > 1


def test_a_composite_of_one_expert_twice_is_that_expert(folder):
    alone = draw(folder, "taught")[0]
    assert difference(draw(folder, "composite")[0], pixels(alone)) <= 1


def test_experts_that_are_missing_or_of_another_model_stop_the_stage(folder):
    with pytest.raises(MissingDataError, match=r"models/experts/common\.safetensors: no such"):
        draw(folder, "switch")
    write_expert(folder, "common", layer="unet.mid_block.nothing")
    with pytest.raises(AdapterMismatchError, match=r"common\.safetensors: unet\.mid_block"):
        draw(folder, "switch")
    assert not (folder / "out.parquet").exists()


def test_a_text_encoders_expert_cannot_take_turns(folder):
    layer = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    write_expert(folder, "common", layer=layer)
    with pytest.raises(AdapterMismatchError, match=rf"{layer}: is a layer of text_encoder; exp"):
        draw(folder, "switch")


def write_router_of(folder, **gates):
    """Put two experts on one layer; each keyword weighs a token's first number for an expert."""
    import torch
    from tiny_world import LAYER

    from selma.adapters.routers import Router, by_layer, write_router

    write_expert(folder, "common", strength=-1.0)
    experts = {
        skill: read_adapter(folder / f"models/experts/{skill}.safetensors") for skill in gates
    }
    rows = torch.zeros(len(gates), 96)
    rows[:, 0] = torch.tensor(list(gates.values()))
    router = Router(list(gates), by_layer(experts), {LAYER: rows}, 2, {})
    write_router(folder / "models/routers/moe.safetensors", router)


def test_a_file_that_is_a_router_is_routed_whatever_its_folder(folder):
    """With gates of zero it is the mean of its experts: 3 and -1 on one layer are 1."""
    write_router_of(folder, count=0.0, common=0.0)
    routed = draw(folder, "moe")[0]
    write_expert(folder, "count", strength=1.0)
    mean = draw(folder, "taught")[0]
    assert difference(routed, pixels(mean)) <= 1
    assert difference(routed, pixels(draw(folder, "plain")[0])) > 1


def test_the_gates_of_a_router_decide_what_is_drawn(folder):
    write_router_of(folder, count=0.0, common=0.0)
    mean = draw(folder, "moe")[0]
    write_router_of(folder, count=9.0, common=-9.0)
    assert difference(draw(folder, "moe")[0], pixels(mean)) > 1


def test_a_folder_of_weights_replaces_the_backbone(folder):
    other = folder / "other"
    shutil.copytree(folder / "models/pocket/base", other)
    config = other / "scheduler/scheduler_config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("0.012", "0.02"), encoding="utf-8")
    row = draw(folder, "other")[0]
    expected = stock_picture(stock_pipeline("other"), row["prompt"], row["seed"], **HOW)
    assert difference(row, expected) <= 1
    assert difference(draw(folder, "plain")[0], expected) > 1


def test_an_adapter_goes_onto_the_backbone_of_params(folder):
    other = folder / "taught-on"
    shutil.copytree(folder / "models/pocket/base", other)
    config = other / "scheduler/scheduler_config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("0.012", "0.02"), encoding="utf-8")
    first = draw(folder, "taught")[0]
    second = draw(folder, "taught", backbone={"path": "taught-on", "dtype": "float32"})[0]
    assert difference(first, pixels(second)) > 1


def test_the_dtype_is_that_of_params(folder):
    row = draw(folder, "plain", backbone={"dtype": "bfloat16"})[0]
    pipeline = stock_pipeline("models/pocket/base", "bfloat16")
    assert difference(row, stock_picture(pipeline, row["prompt"], row["seed"], **HOW)) <= 16
    assert difference(row, pixels(draw(folder, "plain")[0])) > 0


def test_the_section_is_samples_and_not_images(folder):
    images = {"per_prompt": 7, "guidance_scale": 1.0, "inference_steps": 1, "batch_size": 1}
    assert len(draw(folder, "plain", images=images)) == 2


def test_a_batch_is_kept_when_the_stage_dies_and_belongs_to_its_model_and_weights(folder):
    (folder / "out.parquet").mkdir()  # the table cannot be put there
    with pytest.raises(OSError):
        draw(folder, "taught", samples={**DRAWING, "batch_size": 1})
    (work,) = (folder / ".selma/work").glob("samples-first-taught-*")
    assert len(list(work.glob("batch-*.parquet"))) == 2
    write_expert(folder, "count")
    path = folder / "models/experts/count.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(OSError):
        draw(folder, "taught", samples={**DRAWING, "batch_size": 1})
    assert len(list((folder / ".selma/work").glob("samples-first-taught-*"))) == 2


def test_a_batch_of_a_switch_belongs_to_its_row(folder, monkeypatch):
    write_expert(folder, "common", strength=-3.0)
    (folder / "out.parquet").mkdir()
    for every_steps in (1, 2):
        monkeypatch.setitem(MODELS["switch"], "every_steps", every_steps)
        with pytest.raises(OSError):
            draw(folder, "switch")
    assert len(list((folder / ".selma/work").glob("samples-first-switch-*"))) == 2


def test_missing_weights_and_an_adapter_of_another_model_stop_the_stage(folder):
    with pytest.raises(MissingDataError, match="other: no such"):
        draw(folder, "other")
    write_expert(folder, "count", layer="unet.mid_block.nothing")
    with pytest.raises(AdapterMismatchError, match="no such layer"):
        draw(folder, "taught")
    assert not (folder / "out.parquet").exists()


def test_torch_works_with_the_threads_of_params(folder, one_thread):
    import torch

    with pytest.raises(MissingDataError):  # after that
        draw(folder, "other", threads=2)
    assert torch.get_num_threads() == 2


def test_a_model_with_a_sampler_draws_by_it_and_its_weights_what_has_a_phrase(folder):
    """A prompt that is all one phrase has nothing to be told apart, and is drawn plainly."""
    write_benchmark("first", item("a", "two red stars"), item("b", "a blue heart and a red star"))
    taught, structured = (draw(folder, name) for name in ("taught", "structured"))
    assert [row["seed"] for row in taught] == [row["seed"] for row in structured]
    assert abs(pixels(taught[0]) - pixels(structured[0])).max() <= 1
    assert abs(pixels(taught[1]) - pixels(structured[1])).max() > 1
