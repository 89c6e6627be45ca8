"""The stage images draws each prompt of one skill as params.yaml says."""

import shutil

import pytest
from stage_world import pixels, read_json, rows_of, run, stock_picture, stock_pipeline
from tiny_world import (
    SELF,
    tiny_params,
    write_expert,
    write_images,
    write_params,
    write_prompts,
    write_source,
)

from selma.core.errors import MissingDataError
from selma.core.seeds import derive_seed
from selma.core.tables import read_table, write_table

COMMAND = (
    "--skill count --prompts data/prompts/count.parquet --source data/sources/mine "
    "--out images.parquet --metrics counts.json"
)
DRAWING = {"per_prompt": 1, "guidance_scale": 2.0, "inference_steps": 2, "batch_size": 3}


@pytest.fixture
def folder(with_models):
    write_prompts(with_models, "count", 2)
    write_source(with_models)
    return with_models


def draw(folder, arguments=COMMAND, *, override=None, **changes):
    params = tiny_params(**{"images": DRAWING, **changes})
    params["skills"]["x"] = params["skills"]["common"]
    if override is not None:
        params["skills"]["count"]["images"] = override
    write_params(folder, params)
    run("images", arguments)
    return rows_of("images.parquet", "images")


def keys(rows):
    return [(row["prompt_id"], row["sample"]) for row in rows]


def difference(one, other):
    return abs(one - other).max()


def test_each_prompt_is_drawn_per_prompt_times_with_a_seed_of_its_own(folder):
    rows = draw(folder, seed=5, images={**DRAWING, "per_prompt": 2})
    assert keys(rows) == [(f"count-{k:03d}", n) for k in range(2) for n in range(2)]
    assert [row["seed"] for row in rows] == [
        derive_seed(5, "images", "count", *key) for key in keys(rows)
    ]
    assert {row["prompt"] for row in rows} == {"0 red cats", "1 red cats"}
    assert read_json("counts.json") == {"pictures": 4, "truncated_prompts": 0, "black_images": 0}


def test_a_skill_overrides_how_its_pictures_are_drawn(folder):
    assert len(draw(folder, override={"per_prompt": 3})) == 6


def test_the_prompts_and_the_skill_are_those_of_the_arguments(folder):
    write_prompts(folder, "common", 1)
    rows = draw(folder, COMMAND.replace("data/prompts/count", "data/prompts/common"))
    assert keys(rows) == [("common-000", 0)]
    assert rows[0]["seed"] == derive_seed(0, "images", "count", "common-000", 0)


@pytest.mark.parametrize(
    "changes",
    [{}, {"guidance_scale": 6.0}, {"guidance_scale": 1.0}, {"inference_steps": 4}],
    ids=str,
)
def test_pictures_are_stock_diffusers_with_the_scale_and_steps_of_params(folder, changes):
    drawing = {**DRAWING, **changes}
    row = draw(folder, images=drawing)[0]
    how = {key: drawing[key] for key in ("guidance_scale", "inference_steps")}
    pipeline = stock_pipeline("models/pocket/base")
    expected = stock_picture(pipeline, row["prompt"], row["seed"], **how)
    assert difference(pixels(row), expected) <= 1
    if changes:
        assert difference(pixels(row), pixels(draw(folder)[0])) > 1


def test_the_backbone_is_the_folder_of_params(folder):
    plain = draw(folder)
    other = folder / "other"
    shutil.copytree(folder / "models/pocket/base", other)
    config = other / "scheduler/scheduler_config.json"
    text = config.read_text(encoding="utf-8")
    assert "0.012" in text
    config.write_text(text.replace("0.012", "0.02"), encoding="utf-8")  # beta_end
    drawn = draw(folder, backbone={"path": "other", "dtype": "float32"})
    how = {key: DRAWING[key] for key in ("guidance_scale", "inference_steps")}
    expected = stock_picture(stock_pipeline("other"), drawn[0]["prompt"], drawn[0]["seed"], **how)
    assert difference(pixels(drawn[0]), expected) <= 1
    assert difference(pixels(drawn[0]), pixels(plain[0])) > 1


def test_another_backbone_draws_the_same_prompts_with_the_same_seeds(folder):
    """What is taught may be another model, which is not even there."""
    shutil.copytree(folder / "models/pocket/base", folder / "weak")
    config = folder / "weak/scheduler/scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.02"))
    plain = draw(folder)
    write_source(folder, {"kind": "backbone", "path": "weak", "dtype": "float32"})
    drawn = draw(folder, backbone={"path": "nowhere"})
    how = {key: DRAWING[key] for key in ("guidance_scale", "inference_steps")}
    assert [row["seed"] for row in drawn] == [row["seed"] for row in plain]
    expected = stock_picture(stock_pipeline("weak"), drawn[0]["prompt"], drawn[0]["seed"], **how)
    assert difference(pixels(drawn[0]), expected) <= 1
    assert difference(pixels(drawn[0]), pixels(plain[0])) > 1


def test_an_adapter_of_an_earlier_round_draws(folder):
    """Stock diffusers with the update in its weights draws the same."""
    from selma.adapters.files import read_adapter

    write_expert(folder, "before")
    path = "models/experts/before.safetensors"
    write_source(folder, {"kind": "adapter", "path": path})
    row = draw(folder)[0]
    pipeline = stock_pipeline("models/pocket/base")
    for name, factors in read_adapter(folder / path).items():
        pipeline.unet.get_submodule(name.removeprefix("unet.")).weight.data += factors.delta()
    how = {key: DRAWING[key] for key in ("guidance_scale", "inference_steps")}
    expected = stock_picture(pipeline, row["prompt"], row["seed"], **how)
    assert difference(pixels(row), expected) <= 1


def test_candidates_take_the_place_of_per_prompt(folder):
    write_source(folder, {**SELF, "candidates": 3})
    rows = draw(folder)
    assert keys(rows) == [(f"count-{k:03d}", n) for k in range(2) for n in range(3)]
    write_source(folder)
    assert rows[::3] == draw(folder)  # the first is what would be drawn alone


def with_truth(folder, pictures):
    write_images(folder, "count", 3)
    shutil.copy(folder / "data/images/count.parquet", folder / "data/sources/mine")
    write_source(folder, {"kind": "folder", "path": "mine", "pictures": pictures})
    return rows_of("data/images/count.parquet", "images")


def test_true_pictures_are_taken_as_they_are_and_no_model_is_loaded(folder):
    truth = with_truth(folder, "truth")
    assert draw(folder, backbone={"path": "nowhere"}) == truth
    assert read_json("counts.json") == {"pictures": 3, "black_images": 0}


def test_captions_are_drawn_as_prompts_are(folder):
    truth, rows = with_truth(folder, "drawn"), draw(folder)
    assert [(row["prompt_id"], row["prompt"]) for row in rows] == [
        (row["prompt_id"], row["prompt"]) for row in truth
    ]
    assert rows[0]["seed"] == derive_seed(0, "images", "count", rows[0]["prompt_id"], 0)
    assert rows[0]["sha256"] != truth[0]["sha256"]


def test_a_skill_without_true_pictures_is_told(folder):
    with_truth(folder, "truth")
    with pytest.raises(MissingDataError, match="mine: has no pictures of the skill x; there"):
        draw(folder, COMMAND.replace("--skill count", "--skill x"))


def test_the_dtype_is_that_of_params(folder):
    drawn = draw(folder, backbone={"dtype": "bfloat16"})
    how = {key: DRAWING[key] for key in ("guidance_scale", "inference_steps")}
    pipeline = stock_pipeline("models/pocket/base", "bfloat16")
    expected = stock_picture(pipeline, drawn[0]["prompt"], drawn[0]["seed"], **how)
    assert difference(pixels(drawn[0]), expected) <= 16  # bfloat16 has 8 bits
    assert difference(pixels(drawn[0]), pixels(draw(folder)[0])) > 0


def test_batches_hold_as_many_pictures_as_params_say_and_are_kept_when_the_stage_dies(folder):
    (folder / "counts.json").mkdir()  # the last file cannot be put there
    with pytest.raises(OSError):
        draw(folder, images={**DRAWING, "per_prompt": 4})
    batches = sorted((folder / ".selma/work").glob("images-count-*/batch-*.parquet"))
    assert [len(read_table(batch, "samples")) for batch in batches] == [3, 3, 2]


def test_torch_works_with_the_threads_of_params(folder, one_thread):
    import torch

    with pytest.raises(MissingDataError):  # after that
        draw(folder, threads=2, backbone={"path": "nowhere"})
    assert torch.get_num_threads() == 2


def test_prompts_that_are_cut_and_black_pictures_are_counted(folder):
    rows = read_table(folder / "data/prompts/count.parquet", "prompts")
    rows[0]["prompt"] = "a red cat " * 20
    write_table(folder / "data/prompts/count.parquet", "prompts", rows)
    draw(folder)
    assert read_json("counts.json")["truncated_prompts"] == 1
