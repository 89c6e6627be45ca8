"""What `selma plan` says is what the graph would do."""

import json
import subprocess

import pytest
from dvc_world import lay_out
from tiny_world import (
    DISTILLATION,
    ROOT,
    SEARCH,
    copy_models,
    shipped_params,
    tiny_params,
    write_benchmarks,
    write_dev_split,
    write_params,
)

from selma.checking.plan import Counter, plan_work
from selma.commands.cli import main
from selma.core.tables import read_table
from selma.judges.protocol import Question
from selma.judges.templates import TEMPLATES
from selma.llm.budget import Budget
from selma.prompts.asking import build_request
from selma.prompts.skills import read_skill
from selma.runtime.params import load_params

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep")  # of DVC's own tree of paths


@pytest.fixture
def world(tmp_path, tiny_models):
    copy_models(tiny_models, tmp_path)
    write_benchmarks(tmp_path, items_per_skill=2)
    return tmp_path


def works(world, **changes):
    write(world, **changes)
    path = world / "params.yaml"
    return {work.stage: work for work in plan_work(world, path, load_params(path))}


def write(world, **changes):
    params = tiny_params(**changes)
    params["skills"]["count"] = {
        **params["skills"]["count"], "images": {"per_prompt": 3}, "lora": {"train_steps": 7},
    }  # fmt: skip
    write_params(world, params)


def test_it_lists_every_stage_of_the_graph_that_draws_trains_merges_asks_or_scores(world):
    kinds = (
        "prompts", "images", "correct", "pairs", "lora", "mixture", "router", "merge", "fit",
        "search", "samples", "answers", "preferences",
    )  # fmt: skip
    listed = subprocess.run(
        ["dvc", "stage", "list", "--name-only"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    path = ROOT / "params.yaml"
    found = {work.stage for work in plan_work(world, path, load_params(path))}
    assert found == {name for name in listed if name.partition("@")[0] in kinds}


def test_another_objective_draws_and_trains_otherwise(world):
    lora = {"train_steps": 20, "batch_size": 6, "objective": "dpo"}
    objectives = shipped_params()["objectives"]
    objectives["dpo"] |= {"lora": {}, "pairs": {"rater": "pickscore", "images": {"per_prompt": 4}}}
    objectives["ddpo"] |= {"lora": {}, "images": {"inference_steps": 5, "guidance_scale": 2.0}}
    given = {"prompts": {"per_skill": 10}, "lora": lora, "objectives": objectives}
    assert works(world)["pairs@common"].operations == 0
    paired = works(world, **given)
    costs = Counter(world / "models/pocket/base").costs(load_lora(world))
    assert paired["pairs@common"].number == 10 * 4
    assert paired["lora@common"].number == 2 * 120
    assert paired["lora@common"].operations == (
        240 * (costs.train + costs.predict) + 10 * costs.encode
    )
    rewarded = works(world, **{**given, "lora": {**lora, "objective": "ddpo"}})["lora@common"]
    assert rewarded.number == 120
    assert rewarded.operations == 120 * (2 * 5 * (costs.predict + costs.train) + costs.decode)


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


def test_a_source_decides_how_many_pictures_are_drawn_and_trained_on(world):
    def counts(source):
        images = {"source": source, "per_prompt": 2}
        found = works(world, prompts={"per_skill": 10}, images=images)
        return found["images@common"].number, found["correct@common"].number

    per_skill, candidates = 160, 4  # of the preset
    assert counts("self") == (20, 20)
    assert counts("best_of") == (10 * candidates, 10)
    assert counts("captions") == (2 * per_skill, 2 * per_skill)
    assert counts("truth") == (0, per_skill)


EXPERTS = {"weights": "models/experts", "experts": ["count", "common"]}


def test_a_composite_costs_as_many_predictions_as_experts_and_a_switch_one(world):
    models = {
        "composite": {**EXPERTS, "combine": "composite"},
        "switch": {**EXPERTS, "combine": "switch", "every_steps": 1},
    }
    found = works(world, models=models, samples={"inference_steps": 3, "guidance_scale": 3.0})
    costs = Counter(world / "models/pocket/base").costs(load_lora(world))
    both, one, plain = (
        found[f"samples@{name}-pocket-dsg"] for name in ("composite", "switch", "base")
    )
    assert one.operations == plain.operations
    extra = plain.number * 2 * 3 * costs.predict
    assert both.operations == plain.operations + extra


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_a_guided_step_of_a_sampler_goes_forward_and_back_by_the_prompts_alone(
    world, guidance_scale
):
    sampler = {
        "kind": "syngen", "phrases": {"kind": "pocket", "model": None}, "map_size": 4,
        "step_size": 1.0, "steps_share": 0.5,
    }  # fmt: skip
    models = {"rival": {"weights": "models/pocket/base", "sampler": sampler}}
    samples = {"inference_steps": 4, "guidance_scale": guidance_scale}
    found = works(world, models=models, samples=samples)
    costs = Counter(world / "models/pocket/base").costs(load_lora(world))
    rival, plain = (found[f"samples@{name}-pocket-dsg"] for name in ("rival", "base"))
    assert rival.operations == plain.operations + plain.number * 2 * 2 * costs.predict


def test_a_routers_layers_and_gates_are_counted_by_hand(world):
    """Of each token: R · in of all A, R · out of all B, 2 · in of the gate; twice as operations."""
    routers = {"moe": {"skills": ["count", "common"], "top_k": 2, "lora": {"train_steps": 4}}}
    lora = {"rank": 3, "targets": ["attn1.to_q"], "train_steps": 20, "batch_size": 6}
    models = {"moe": {"weights": "models/routers/moe.safetensors"}}
    found = works(world, routers=routers, models=models, lora=lora,
                  samples={"inference_steps": 1, "guidance_scale": 1.0})  # fmt: skip
    training, drawn, plain = (
        found[name] for name in ("router@moe", "samples@moe-pocket-dsg", "samples@base-pocket-dsg")
    )
    assert training.number == 4 * 6
    gates = sum(2 * shape[1] for shape in layers(world, "attn1.to_q"))
    factors = 2 * 3 * sum(sum(shape) for shape in layers(world, "attn1.to_q"))
    assert training.disk == 2 * factors + 4 * gates
    extra = sum(
        2 * tokens * (6 * (shape[0] + shape[1]) + 2 * shape[1])
        for shape, tokens in tokens_of_layers(world, "attn1.to_q")
    )
    assert drawn.operations == plain.operations + plain.number * extra
    assert training.operations > training.number * 2 * extra


def tokens_of_layers(world, end):
    """The weight's shape of each layer, and how many tokens go through it for one picture."""
    import torch
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(world / "models/pocket/base/unet")
    seen = []
    for name, module in unet.named_modules():
        if name.endswith(end):
            module.register_forward_hook(
                lambda layer, given, _: seen.append((layer.weight.shape, given[0].shape[1]))
            )
    side, width = unet.config.sample_size, unet.config.cross_attention_dim
    text = torch.zeros(1, 3, width)
    with torch.no_grad():
        unet(torch.zeros(1, 4, side, side), torch.tensor(0), encoder_hidden_states=text)
    return seen


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


def test_what_is_kept_and_what_a_training_needs_meanwhile_are_summed_up_by_hand(world):
    lora = {"rank": 3, "targets": ["attn1.to_q"], "flip": True}
    found = works(world, prompts={"per_skill": 10}, images={"per_prompt": 1}, lora=lora)
    unet = json.loads((world / "models/pocket/base/unet/config.json").read_text())
    side, channels = unet["sample_size"], unet["in_channels"]
    parameters = Counter(world / "models/pocket/base").costs(load_lora(world)).parameters
    assert parameters == 3 * sum(sum(shape) for shape in layers(world, "attn1.to_q"))
    expert = found["lora@common"]
    assert expert.disk == 2 * parameters
    assert expert.scratch == 10 * 2 * 2 * 4 * channels * side * side + 12 * parameters
    assert found["merge@merged"].disk == 5 * 4 * parameters
    assert found["images@common"].disk == 10 * 32 * 32 * 1.5


def load_lora(world):
    return load_params(world / "params.yaml").lora


def layers(world, end):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(world / "models/pocket/base/unet")
    return [module.weight.shape for name, module in unet.named_modules() if name.endswith(end)]


def test_nothing_is_paid_in_the_pocket_world(world):
    assert {work.paid for work in works(world).values()} == {None}


HOSTED = {"backend": "openai", "model": "writer"}


def with_endpoint(**changes):
    pocket = shipped_params()["judges"]["pocket"]
    judges = {"pocket": {**pocket, "kind": "endpoint", "model": "looker"}}
    answers = {"dsg": {"judge": "pocket", "benchmark": "pocket-dsg", "template": "yes-no"}}
    prompts = {"per_skill": 10, "per_request": 4}
    return {"llm": HOSTED, "prompts": prompts, "judges": judges, "answers": answers, **changes}


def test_tokens_are_a_quarter_of_the_characters_of_requests_and_replies(world):
    lay_out(world)
    found = works(world, **with_endpoint(samples={"per_prompt": 3}))
    skill = read_skill(world / "data/skills/count.yaml")
    request = build_request(skill.instructions, list(skill.seed_prompts), 4, json=False, refused="")
    paid = found["prompts@count"].paid
    assert (paid.model, paid.requests) == ("writer", 3)
    assert paid.tokens_in == round(3 * len(request) / 4)
    listed = sum(len(f"1. {prompt}\n") for prompt in skill.seed_prompts)
    assert paid.tokens_out == round(3 * 4 * listed / 3 / 4)
    rows = read_table(world / "data/benchmarks/pocket-dsg.parquet", "benchmark")
    texts = [TEMPLATES["yes-no"](Question(q["question"], ())) for r in rows for q in r["questions"]]
    paid = found["answers@dsg-base"].paid
    assert (paid.model, paid.requests, paid.pictures) == ("looker", 3 * len(texts), 3 * len(texts))
    assert paid.tokens_in == round(3 * sum(map(len, texts)) / 4)
    assert paid.tokens_out == paid.requests  # "yes" and "no" are a token each


@pytest.fixture
def plan(world, monkeypatch, capsys):
    """The command in a repository where one stage has run: it took a hundred seconds."""
    lay_out(world)
    monkeypatch.chdir(world)
    write(world, **with_endpoint())
    runs = world / ".selma/runs/workspace"
    runs.mkdir(parents=True)
    events = [("start", 100), ("end", 160), ("start", 200), ("end", 240)]
    lines = [
        {"event": event, "time": time, "pid": 1, "stage": "images@count", "argv": [],
         "status": "finished" if time == 240 else "interrupted"}
        for event, time in events
    ]  # fmt: skip
    (runs / "images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def say(*options, code=0):
        assert main(["plan", *options]) == code
        said = capsys.readouterr()
        return said.out + said.err

    return say


def test_the_table_has_planned_beside_measured_and_the_money_at_the_prices_given(plan, world):
    path = world / "params.yaml"
    found = {work.stage: work for work in plan_work(world, path, load_params(path))}
    said = plan()
    head, line = (next(row for row in said.splitlines() if row.startswith(start))
                  for start in ("stage", "images "))  # fmt: skip
    words = "stage", "to run", "cached", "TFLOP", "H100, arithmetic", "disk", "LLM tokens", "took"
    assert all(word in head for word in words)
    rate = found["images@count"].operations / 100 / 1e12
    assert line.split()[1:3] == ["5", "0"]
    assert line.endswith(f"1 min 40 s (1 of 5)  {rate:{len('TFLOP/s')}.3g}")
    assert "LLM looker: at least" in said
    assert said.count("price unknown (llm.price, or --price-in and --price-out)") == 2
    writer = [work.paid for work in found.values() if work.paid and work.paid.model == "writer"]
    into, out = sum(one.tokens_in for one in writer), sum(one.tokens_out for one in writer)
    priced = plan("--price-in", "1000", "--price-out", "3000", "--picture-tokens", "10")
    assert f"{into:,} tokens in, {out:,} out; about {into / 1e3 + 3 * out / 1e3:,.2f} USD" in priced
    assert "without" not in priced
    ledger = Budget(world / ".selma/llm/spent.jsonl", 1.0)
    ledger.settle(ledger.reserve(0.5), 0.25)
    write(world, **with_endpoint(llm={**HOSTED, "budget_usd": 1.0}))
    assert "llm.budget_usd: $0.2500 of $1 are spent in this working copy" in plan()
    assert "USD without the pictures" in plan("--price-in", "1", "--price-out", "3")


def test_each_stage_has_a_line_of_its_own_if_asked(plan):
    lines = plan("--each", "--device", "L40S").splitlines()
    assert "L40S, arithmetic" in lines[0]
    (line,) = (line for line in lines if line.startswith("images@count "))
    assert "1 min 40 s" in line
    assert "of 5" not in line
    assert "expected both or none" in plan("--price-in", "1", code=2)
    assert "unknown device 'B200'" in plan("--device", "B200", code=2)


def test_a_fit_that_is_trained_computes_all_experts_and_one_in_closed_form_nothing(world):
    weights = dict.fromkeys(("count", "common"), 1.0)
    regmean = {"kind": "regmean", "weights": weights, "scale": 1.0, "off_diagonals": 0.9}
    cat = {"kind": "cat", "skills": ["common", "attributes"], "lora": {"train_steps": 9}}
    found = works(
        world, prompts={"per_skill": 10}, images={"per_prompt": 1},
        lora={"rank": 3, "batch_size": 4}, fits={"one": {**regmean, "rank": None}, "two": cat},
    )  # fmt: skip
    params = load_params(world / "params.yaml")
    costs = Counter(world / "models/pocket/base").costs(params.lora.model_copy(update={"rank": 6}))
    assert found["fit@two"].number == 9 * 4
    assert found["fit@two"].operations == 9 * 4 * costs.train + 20 * costs.encode
    assert found["fit@two"].disk == 4 * costs.parameters
    assert (found["fit@one"].number, found["fit@one"].operations) == (2, None)
    assert found["fit@one"].disk == 4 * costs.parameters


@pytest.mark.parametrize(
    ("kind", "match", "teachers", "student", "teacher"),
    [
        ({"kind": "composite", "weights": {"count": 1.0, "common": 1.0}}, "guided", 2, 2, 2),
        ({"kind": "skill", "skills": ["count", "common"]}, "guided", 1, 2, 2),
        ({"kind": "skill", "skills": ["count", "common"]}, "conditional", 1, 1, 1),
    ],
)
def test_a_distillation_draws_asks_its_teachers_and_trains(
    world, kind, match, teachers, student, teacher
):
    row = {key: value for key, value in DISTILLATION.items() if key != "weights"}
    row |= {**kind, "match": match, "lora": {"train_steps": 9}, "guidance_scale": 3.0}
    row["trajectory"] = {"guidance_scale": 3.0, "inference_steps": 7, "points": 4}
    lora = {"rank": 3, "batch_size": 5}
    found = works(world, lora=lora, distillations={"mine": row})["distil@mine"]
    params = load_params(world / "params.yaml")
    costs = Counter(world / "models/pocket/base").costs(params.lora.model_copy(update={"rank": 6}))
    point = teachers * teacher * costs.predict + student * costs.train
    assert (found.number, found.what) == (9 * 5, "prompts")
    assert found.operations == 9 * 5 * (7 * 2 * costs.predict + 4 * point)
    assert found.disk == 2 * costs.parameters


def test_a_search_draws_and_asks_for_each_evaluation(world):
    write_dev_split(world, items_per_skill=2)
    rows = read_table(world / "data/dev/pocket-dsg.parquet", "benchmark")
    search = {**SEARCH, "evaluations": 7, "samples": {"per_prompt": 3}}
    found = works(world, searches={"mine": search})["search@mine"]
    params = load_params(world / "params.yaml")
    costs = Counter(world / "models/pocket/base").costs(params.lora)
    assert found.number == 7 * 3 * len(rows)
    steps = params.samples.inference_steps
    assert found.operations == found.number * (2 * steps * costs.predict + costs.decode)
    assert found.paid is None
    lay_out(world)
    endpoint = works(world, **with_endpoint(searches={"mine": search}))["search@mine"]
    assert endpoint.paid.requests == 7 * 3 * sum(len(row["questions"]) for row in rows)


def test_corrections_are_counted_and_paid_for_only_with_rounds(world):
    lay_out(world)
    hosted = HOSTED | {"price": {"input": 1.0, "output": 1.0}}
    off = works(world, llm=hosted)["correct@common"]
    assert (off.operations, off.disk, off.paid) == (0, 0, None)
    section = {**tiny_params()["correct"], "rounds": 2}
    on = works(world, llm=hosted, correct=section)["correct@common"]
    assert (on.number, on.paid.requests) == (off.number, 2 * off.number)
    assert on.paid.tokens_in > 100 * on.number and on.disk > 0
