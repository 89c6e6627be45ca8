"""What `selma plan` says is what the graph would do."""

import subprocess

import pytest
from tiny_world import ROOT, copy_models, tiny_params, write_benchmarks, write_params

from selma.checking.plan import Counter, plan_work
from selma.core.tables import read_table
from selma.runtime.params import load_params


@pytest.fixture
def world(tmp_path, tiny_models):
    copy_models(tiny_models, tmp_path)
    write_benchmarks(tmp_path, items_per_skill=2)
    return tmp_path


def works(world, **changes):
    params = tiny_params(**changes)
    params["skills"]["count"] = {
        **params["skills"]["count"], "images": {"per_prompt": 3}, "lora": {"train_steps": 7},
    }  # fmt: skip
    write_params(world, params)
    path = world / "params.yaml"
    return {work.stage: work for work in plan_work(world, path, load_params(path))}


def test_it_lists_every_stage_of_the_graph_that_draws_trains_asks_or_scores(world):
    kinds = ("prompts", "images", "lora", "mixture", "samples", "answers", "preferences")
    listed = subprocess.run(
        ["dvc", "stage", "list", "--name-only"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()
    path = ROOT / "params.yaml"
    found = {work.stage for work in plan_work(world, path, load_params(path))}
    assert found == {name for name in listed if name.partition("@")[0] in kinds}


def test_numbers_and_operations_are_those_of_the_settings(world):
    found = works(
        world,
        prompts={"per_skill": 10, "per_request": 4},
        images={"per_prompt": 1, "inference_steps": 5, "guidance_scale": 1.0},
        lora={"train_steps": 20, "batch_size": 6},
        samples={"per_prompt": 2, "inference_steps": 3, "guidance_scale": 3.0},
    )
    params = load_params(world / "params.yaml")
    counter = Counter(world / "models/pocket/base")
    assert counter.pixels == 32 * 32
    costs = counter.costs(params.lora)
    assert found["prompts@count"].number == 3
    assert (found["images@count"].number, found["images@common"].number) == (30, 10)
    assert found["images@common"].operations == 10 * (5 * costs.predict + costs.decode)
    assert (found["lora@count"].number, found["lora@common"].number) == (42, 120)
    assert found["lora@count"].operations == 42 * costs.train + 30 * costs.encode
    assert found["mixture@mixture"].number == 5 * 120
    rows = read_table(world / "data/benchmarks/pocket-dsg.parquet", "benchmark")
    drawn = found["samples@base-pocket-dsg"]
    assert drawn.number == 2 * len(rows)
    assert drawn.operations == drawn.number * (2 * 3 * costs.predict + costs.decode)
    asked = sum(len(row["questions"]) for row in rows)
    assert found["answers@dsg-merged"].number == 2 * asked
    assert found["preferences@hps-base"].number == 2 * len(rows)


def test_without_a_backbone_operations_are_not_counted(world):
    found = works(world, backbone={"path": "models/hub/backbone"})
    assert found["images@count"].operations is None
    assert found["images@count"].number > 0


def test_an_adapter_of_its_own_rank_or_layers_is_counted_so(world):
    small, large = works(world, lora={"rank": 1}), works(world, lora={"rank": 64})
    fewer = works(world, lora={"rank": 64, "targets": ["attn2.to_k"]})
    costs = [found["lora@common"].operations for found in (small, fewer, large)]
    assert costs[2] == max(costs)
    assert len(set(costs)) == 3


def test_a_benchmark_that_is_not_there_yet_is_not_counted(world):
    (world / "data/benchmarks/pocket-dsg.parquet").unlink()
    found = works(world)
    assert found["samples@base-pocket-dsg"].number is None
    assert found["samples@base-pocket-dsg"].operations is None
    assert found["samples@base-pocket-tifa"].number > 0
