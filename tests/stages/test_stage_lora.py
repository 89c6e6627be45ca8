"""The stage lora trains experts and mixtures as params.yaml says."""

import json
import math
import shutil

import pytest
import torch
from safetensors import safe_open
from stage_world import run
from tiny_world import (
    tiny_params,
    with_objective,
    write_images,
    write_pairs,
    write_params,
    write_rater,
)

from selma.adapters.files import read_adapter, read_provenance
from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.core.tables import read_table, write_table

LORA = {
    "rank": 2,
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "train_steps": 1,
    "batch_size": 2,
    "micro_batch_size": 2,
    "targets": None,
    "min_snr_gamma": None,
    "average_decay": None,
    "flip": False,
    "max_gradient_norm": 1.0,
    "checkpoint_every_steps": 1,
}
ADAM_EPSILON = 1e-8
HALF = 2**-10  # adapters are written as float16


@pytest.fixture
def folder(with_models):
    write_images(with_models, "count", 3)
    write_images(with_models, "common", 2)
    return with_models


def params_of(*, skill=None, mixture=None, **changes):
    params = tiny_params(**{"lora": LORA, **changes})
    params["skills"]["count"]["lora"] = skill or {}
    params["mixtures"] = {"both": mixture or {"skills": ["count", "common"], "lora": {}}}
    return params


def train(folder, params, *, section="skills", name="count", images="data/images"):
    """Train; the adapter's tensors, and the rows of the loss curve."""
    write_params(folder, params)
    arguments = f"--section {section} --name {name} --images {images} --pairs data/pairs"
    arguments += " --objective data/rows/objective.json"
    run("lora", f"{arguments} --out out/{name}.safetensors --curve out/{name}.csv")
    adapter = read_adapter(folder / f"out/{name}.safetensors")
    lines = (folder / f"out/{name}.csv").read_text(encoding="utf-8").splitlines()
    return adapter, lines


def largest(adapter, factor):
    return max(float(getattr(layer, factor).abs().max()) for layer in adapter.values())


def same(one, other):
    return all(
        one[name].lora_a.equal(other[name].lora_a) and one[name].lora_b.equal(other[name].lora_b)
        for name in one
    )


def test_an_expert_has_the_rank_and_the_steps_of_params_and_says_how_it_was_made(folder):
    lora = {**LORA, "rank": 3, "train_steps": 12}
    adapter, curve = train(folder, params_of(lora=lora, seed=4))
    assert {layer.rank for layer in adapter.values()} == {3}
    assert [line.partition(",")[0] for line in curve] == ["step", "10", "12"]
    made = read_provenance(folder / "out/count.safetensors")
    assert (made["name"], made["seed"], made["base"]) == ("count", 4, "models/pocket/base")
    assert made["lora"] == {**lora, "select": None}
    assert made["step"] == 12


def test_an_adapter_is_written_in_half_precision(folder):

    train(folder, params_of())
    with safe_open(folder / "out/count.safetensors", framework="pt") as handle:
        assert {handle.get_slice(name).get_dtype() for name in handle.keys()} == {"F16"}  # noqa: SIM118


def test_a_skill_overrides_how_its_expert_is_trained_and_no_other_skill_does(folder):
    params = params_of(skill={"rank": 1})
    assert {layer.rank for layer in train(folder, params)[0].values()} == {1}
    common, _ = train(folder, params, name="common")
    assert {layer.rank for layer in common.values()} == {2}


def test_the_first_step_of_adam_moves_b_by_the_learning_rate(folder):
    """B starts at 0, and Adam's first step is the learning rate times the gradient's sign."""
    for rate in (0.01, 0.03):
        adapter, _ = train(folder, params_of(lora={**LORA, "learning_rate": rate}))
        assert largest(adapter, "lora_b") == pytest.approx(rate, rel=2 * HALF)


def test_weight_decay_shrinks_a_by_rate_times_decay(folder):
    """In the first step B is 0, so A has no gradient and only decays."""
    plain, _ = train(folder, params_of())
    decayed, _ = train(folder, params_of(lora={**LORA, "weight_decay": 20.0}))
    for name, layer in plain.items():
        expected = layer.lora_a * (1 - 0.01 * 20.0)
        assert (decayed[name].lora_a - expected).abs().max() <= 2 * HALF * expected.abs().max()


def test_the_gradient_is_clipped_to_the_norm_of_params(folder):
    """With a norm far below Adam's epsilon a step is rate · gradient / epsilon, nearly nothing."""
    norm = 1e-3 * ADAM_EPSILON
    adapter, _ = train(folder, params_of(lora={**LORA, "max_gradient_norm": norm}))
    assert largest(adapter, "lora_b") <= 0.01 * norm / ADAM_EPSILON


def test_the_pictures_are_those_of_the_skill_in_the_folder_of_images(folder, caplog):
    caplog.set_level("INFO", logger="selma")
    first, _ = train(folder, params_of())
    assert "training count on 3 pictures: 1 steps of 2" in caplog.text
    train(folder, params_of(), name="common")
    assert "training common on 2 pictures" in caplog.text
    shutil.copytree(folder / "data/images", folder / "elsewhere")
    shutil.copy(folder / "data/images/common.parquet", folder / "elsewhere/count.parquet")
    second, _ = train(folder, params_of(), images="elsewhere")
    assert "training count on 2 pictures" in caplog.text
    assert not same(first, second)


def test_the_batch_holds_as_many_pictures_as_params_say(folder, caplog):
    caplog.set_level("INFO", logger="selma")
    train(folder, params_of(lora={**LORA, "batch_size": 3}))
    assert "1 steps of 3, " in caplog.text


def test_experts_start_from_one_a_of_the_seed_and_see_noise_of_their_own(folder):
    shutil.copy(folder / "data/images/count.parquet", folder / "data/images/attributes.parquet")
    count, _ = train(folder, params_of())
    twin, _ = train(folder, params_of(), name="attributes")
    other, _ = train(folder, params_of(seed=1))
    layer = sorted(count)[0]
    assert count[layer].lora_a.equal(twin[layer].lora_a)
    assert not count[layer].lora_b.equal(twin[layer].lora_b)
    assert not count[layer].lora_a.equal(other[layer].lora_a)


def test_the_backbone_is_the_folder_of_params_in_its_dtype(folder):
    plain, _ = train(folder, params_of())
    shutil.copytree(folder / "models/pocket/base", folder / "other")
    config = folder / "other/scheduler/scheduler_config.json"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("v_prediction", "epsilon"), encoding="utf-8")
    changed, _ = train(folder, params_of(backbone={"path": "other", "dtype": "float32"}))
    assert not same(plain, changed)
    assert read_provenance(folder / "out/count.safetensors")["base"] == "other"
    half, _ = train(folder, params_of(backbone={"dtype": "bfloat16"}))
    assert not same(plain, half)


def test_a_checkpoint_is_kept_as_often_as_params_say_and_taken_up(folder):
    lora = {**LORA, "train_steps": 5, "checkpoint_every_steps": 2}
    whole, _ = train(folder, params_of(lora=lora))
    (folder / "out/count.csv").unlink()
    (folder / "out/count.csv").mkdir()  # the curve cannot be put there: the stage dies at its end
    with pytest.raises(OSError):
        train(folder, params_of(lora=lora))
    (state,) = (folder / ".selma/work").glob("lora-count-*/state.safetensors")
    with safe_open(state, framework="pt") as handle:
        assert '"step": 4' in handle.metadata()["state"]
    (folder / "out/count.csv").rmdir()
    assert same(whole, train(folder, params_of(lora=lora))[0])
    assert not state.exists()


def test_a_mixture_is_trained_on_its_skills_pictures_for_all_their_steps(folder, caplog):
    caplog.set_level("INFO", logger="selma")
    _, curve = train(
        folder, params_of(lora={**LORA, "train_steps": 2}), section="mixtures", name="both"
    )
    assert "training both on 5 pictures: 4 steps of 2" in caplog.text
    assert curve[-1].startswith("4,")
    made = read_provenance(folder / "out/both.safetensors")
    assert (made["name"], made["lora"]["train_steps"]) == ("both", 4)


def test_a_mixture_has_its_own_skills_and_overrides(folder, caplog):
    caplog.set_level("INFO", logger="selma")
    row = {"skills": ["common"], "lora": {"train_steps": 3, "rank": 1}}
    params = params_of(mixture=row, skill={"rank": 4})
    adapter, curve = train(folder, params, section="mixtures", name="both")
    assert "training both on 2 pictures: 3 steps of 2, " in caplog.text
    assert {layer.rank for layer in adapter.values()} == {1}
    assert curve[-1].startswith("3,")


def test_the_order_of_a_mixtures_skills_changes_no_weight_but_each_set_does(folder):
    def mixed(*skills):
        row = {"skills": list(skills), "lora": {}}
        return train(folder, params_of(mixture=row), section="mixtures", name="both")[0]

    whole = mixed("count", "common")
    assert same(whole, mixed("common", "count"))
    for skill in ("count", "common"):
        path = folder / "data/images" / f"{skill}.parquet"
        rows = read_table(path, "images")
        write_table(path, "images", [{**row, "prompt": "a blue dog"} for row in rows])
        assert not same(whole, mixed("count", "common"))
        write_table(path, "images", rows)


def test_losses_are_finite_and_the_curve_has_six_digits(folder):
    _, curve = train(folder, params_of())
    assert curve[0] == "step,loss,gradient_norm"
    for value in curve[1].split(",")[1:]:
        assert math.isfinite(float(value))
        assert len(value.partition(".")[2]) == 6


def test_the_journal_says_how_fast_the_training_was(folder):
    train(folder, params_of())
    (path,) = (folder / ".selma/runs/workspace").glob("*.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    figures = {event["name"]: event["value"] for event in events if event["event"] == "metric"}
    assert set(figures) == {"samples_per_second", "flops_per_second", "peak_memory_bytes"}
    assert all(value > 0 for value in figures.values())


def test_the_step_that_is_best_on_held_out_prompts_is_kept_and_named(folder):
    lora = {**LORA, "train_steps": 6, "select": {"dev": 0.4, "every_steps": 2}}
    train(folder, params_of(lora=lora))
    made = read_provenance(folder / "out/count.safetensors")
    assert list(made["dev_losses"]) == ["2", "4", "6"]
    assert str(made["step"]) == min(made["dev_losses"], key=made["dev_losses"].get)


def test_a_missing_image_table_or_backbone_leaves_nothing_half_written(folder):
    with pytest.raises(MissingDataError, match="dvc"):
        train(folder, params_of(), images="nowhere")
    with pytest.raises(MissingDataError, match="nowhere"):
        train(folder, params_of(backbone={"path": "nowhere", "dtype": "float32"}))
    assert not (folder / "out").exists()


def test_torch_works_with_the_threads_of_params(folder, one_thread):

    with pytest.raises(MissingDataError):  # after that
        train(folder, params_of(threads=2, backbone={"path": "nowhere", "dtype": "float32"}))
    assert torch.get_num_threads() == 2


@pytest.fixture
def rated(folder):
    write_pairs(folder, "count", 4)
    write_pairs(folder, "common", 3)
    write_rater(folder)
    return folder


def with_way(objective, **changes):
    params = {**params_of(), **with_objective(objective, lora=LORA)}
    params["lora"]["objective"] = objective
    params["mixtures"] = {"both": {"skills": ["count", "common"], "lora": {}}}
    params["objectives"][objective] |= changes
    return params


def test_dpo_trains_on_the_rated_pairs_and_the_curve_shows_what_is_watched(rated, caplog):
    caplog.set_level("INFO", logger="selma")
    adapter, curve = train(rated, with_way("dpo", beta=50.0, lora={"train_steps": 3, "rank": 3}))
    assert "training count on 4 pairs: 3 steps of 2" in caplog.text
    assert curve[0] == ("step,loss,gradient_norm,implicit_accuracy,winner_loss,winner_reference")
    assert {layer.rank for layer in adapter.values()} == {3}
    made = read_provenance(rated / "out/count.safetensors")
    assert made["pairs"] == {"prompts": 4, "pairs": 4, "too_close": 0}
    assert made["objective"]["beta"] == 50.0
    plain, _ = train(rated, params_of())
    assert "objective" not in read_provenance(rated / "out/count.safetensors")
    assert set(plain) == set(adapter)


def test_the_first_loss_of_dpo_is_log_2_and_beta_and_gap_are_of_params(rated):
    _, curve = train(rated, with_way("dpo"))
    assert float(curve[1].split(",")[1]) == pytest.approx(math.log(2), abs=1e-5)
    weak, strong = (
        train(rated, with_way("dpo", beta=beta, lora={"train_steps": 3}))[1] for beta in (1e-6, 1e4)
    )
    assert float(weak[1].split(",")[1]) == pytest.approx(math.log(2), abs=1e-5)
    assert weak != strong
    with pytest.raises(RecordError, match="no pair to train on"):
        train(rated, with_way("dpo", min_gap=1.5))


def test_a_mixture_learns_from_the_pairs_of_all_its_skills(rated, caplog):
    caplog.set_level("INFO", logger="selma")
    train(rated, with_way("dpo", lora={"train_steps": 2}), section="mixtures", name="both")
    assert "training both on 7 pairs: 4 steps of 2" in caplog.text


def test_ddpo_is_rewarded_by_its_rater_for_the_prompts_of_the_pictures(rated, caplog):
    caplog.set_level("INFO", logger="selma")
    way = {"lora": {"train_steps": 3, "rank": 3}, "images": {"inference_steps": 2}}
    adapter, curve = train(rated, with_way("ddpo", **way))
    assert "training count on the rewards of 3 prompts: 3 steps of 2" in caplog.text
    assert curve[0] == "step,loss,gradient_norm,reward,clipped"
    assert [line.partition(",")[0] for line in curve[1:]] == ["1", "2", "3"]
    assert {layer.rank for layer in adapter.values()} == {3}
    made = read_provenance(rated / "out/count.safetensors")["objective"]
    assert (made["kind"], made["rater"], made["inference_steps"]) == ("ddpo", "pickscore", 2)
    (path, *_) = (rated / ".selma/runs/workspace").glob("*.jsonl")
    assert "reward_first" in path.read_text()


def test_ddpo_by_a_judge_keeps_rewards_between_0_and_1(rated):
    write_rater(rated, "faithfulness")
    write_images(rated, "count", 2, prompt="two red circles")
    way = {"rater": "faithfulness", "lora": {"train_steps": 2}}
    _, curve = train(rated, with_way("ddpo", **way))
    rewards = [float(line.split(",")[3]) for line in curve[1:]]
    assert all(0 <= reward <= 1 for reward in rewards)


def test_what_is_of_no_use_to_a_reward_is_refused(rated):
    params = with_way("ddpo")
    params["lora"] |= {"min_snr_gamma": 5.0, "flip": True}
    with pytest.raises(ConfigError, match=r"lora\.flip, lora\.min_snr_gamma: of no use"):
        train(rated, params)
