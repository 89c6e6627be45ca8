import json

import pytest
from ruamel.yaml import YAML

from selma.core.errors import MissingDataError
from selma.core.tables import read_table, write_table
from stages import images, samples

PARAMS = {
    "seed": 3,
    "threads": 1,
    "backbone": {"revision": None, "dtype": "float32"},
    "images": {"per_prompt": 2, "guidance_scale": 2.0, "inference_steps": 1, "batch_size": 3},
}


def prompt_row(prompt_id, prompt):
    return {
        "prompt_id": prompt_id,
        "skill": "count",
        "prompt": prompt,
        "index": 0,
        "request_id": 0,
        "nearest_prompt_id": None,
        "rouge_l": 0.0,
        "nearest_benchmark_id": None,
        "benchmark_rouge_l": 0.0,
    }


@pytest.fixture
def world(tmp_path, model_directory, monkeypatch):
    """A folder with params, one skill's prompts and two small benchmarks."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    backbone = {"path": str(model_directory), **PARAMS["backbone"]}
    params = {**PARAMS, "backbone": backbone, "samples": PARAMS["images"]}
    YAML().dump(params, tmp_path / "params.yaml")
    rows = [prompt_row("count-1", "two cats"), prompt_row("count-0", "abcdefghijklmno")]
    write_table(tmp_path / "prompts.parquet", "prompts", rows)
    for name in ("dsg", "tifa"):
        items = [
            {"item_id": f"{name}-{k}", "prompt": f"{name} cat", "source": "count", "questions": []}
            for k in range(2)
        ]
        write_table(tmp_path / f"{name}.parquet", "benchmark", items)
    return tmp_path


def run_images(world):
    images.main(
        f"--skill count --prompts {world}/prompts.parquet --out {world}/images.parquet "
        f"--metrics {world}/images.json --params {world}/params.yaml".split()
    )
    return (world / "images.parquet").read_bytes()


def run_samples(world, model, *options):
    samples.main(
        f"--model {model} --benchmarks {world}/dsg.parquet {world}/tifa.parquet "
        f"--out {world}/samples/{model} --params {world}/params.yaml".split()
        + [*options]
    )
    return read_table(world / "samples" / model / "dsg.parquet", "samples")


def test_a_skill_is_drawn_with_its_counts_and_again_gives_the_same_bytes(world):
    first = run_images(world)
    rows = read_table(world / "images.parquet", "images")
    assert [(row["prompt_id"], row["sample"]) for row in rows] == [
        ("count-0", 0),
        ("count-0", 1),
        ("count-1", 0),
        ("count-1", 1),
    ]
    assert len({row["sha256"] for row in rows}) == 4
    counts = json.loads((world / "images.json").read_text())
    assert counts == {"n": 4, "truncated_prompts": 1, "black_images": 0}
    assert run_images(world) == first
    assert list((world / ".selma" / "work").iterdir()) == []


def test_models_draw_both_benchmarks_with_the_same_seeds(world):
    import torch

    from selma.merging.factors import LoraFactors
    from selma.merging.files import write_adapter

    layer = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
    factors = LoraFactors(torch.eye(2, 16), 9 * torch.ones(32, 2))
    write_adapter(world / "merged.safetensors", {layer: factors}, {})
    base = run_samples(world, "base")
    merged = run_samples(world, "merged", "--adapter", str(world / "merged.safetensors"))
    assert [row["seed"] for row in base] == [row["seed"] for row in merged]
    assert len({row["seed"] for row in base}) == 4
    assert all(a["sha256"] != b["sha256"] for a, b in zip(base, merged, strict=True))
    assert (world / "samples" / "merged" / "tifa.parquet").exists()


def test_a_missing_model_stops_the_stage_and_writes_nothing(world):
    params = YAML().load(world / "params.yaml")
    params["backbone"]["path"] = str(world / "nothing")
    YAML().dump(params, world / "params.yaml")
    before = sorted(world.iterdir())
    with pytest.raises(MissingDataError, match="no such directory"):
        run_images(world)
    assert sorted(world.iterdir()) == before


def test_a_missing_adapter_stops_the_stage(world):
    with pytest.raises(MissingDataError, match="no such file"):
        run_samples(world, "merged", "--adapter", str(world / "nothing.safetensors"))
