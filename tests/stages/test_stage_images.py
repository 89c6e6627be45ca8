"""The stage images draws each prompt of one skill as params.yaml says."""

import shutil

import pytest
from stage_world import pixels, read_json, rows_of, run, stock_picture, stock_pipeline
from tiny_world import tiny_params, write_params, write_prompts

from selma.core.errors import MissingDataError
from selma.core.seeds import derive_seed
from selma.core.tables import read_table, write_table

COMMAND = (
    "--skill count --prompts data/prompts/count.parquet --out images.parquet --metrics counts.json"
)
DRAWING = {"per_prompt": 1, "guidance_scale": 2.0, "inference_steps": 2, "batch_size": 3}


@pytest.fixture
def folder(with_models):
    write_prompts(with_models, "count", 2)
    return with_models


def draw(folder, arguments=COMMAND, *, override=None, **changes):
    params = tiny_params(**{"images": DRAWING, **changes})
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
