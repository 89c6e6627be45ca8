from collections import Counter

import pytest
import torch

from selma.core.errors import ConfigError
from selma.training.adapters import TARGET_MODULES, add_adapter
from selma.training.loop import Checkpointing
from selma.training.trainer import denoising_loss, draw_step, train_expert

SETTINGS = {
    "name": "count",
    "seed": 3,
    "rank": 2,
    "learning_rate": 1e-2,
    "weight_decay": 0.01,
    "train_steps": 6,
    "batch_size": 4,
    "max_gradient_norm": 1.0,
}


@pytest.fixture
def run(make_unet, make_noise_scheduler, examples):
    def run(*, unet=None, scheduler=None, **changes):
        unet, scheduler = unet or make_unet(), scheduler or make_noise_scheduler()
        return train_expert(unet, scheduler, examples, **{**SETTINGS, **changes})

    return run


class KilledError(Exception):
    pass


def die_at(last):
    def on_step(step, loss):
        if step == last:
            raise KilledError

    return on_step


def equal(one, two):
    return one.tensors.keys() == two.tensors.keys() and all(
        torch.equal(tensor, two.tensors[name]) for name, tensor in one.tensors.items()
    )


def forward(unet):
    with torch.no_grad():
        text = torch.ones(1, 5, 8)
        return unet(torch.ones(1, 4, 4, 4), torch.tensor([5]), encoder_hidden_states=text).sample


def test_a_new_adapter_is_on_the_attention_projections_and_changes_nothing(make_unet):
    unet = make_unet()
    before = forward(unet)
    parameters = add_adapter(unet, rank=2, seed=0)
    modules = {name.split(".lora_")[0].split(".attn")[1][2:] for name in parameters}
    assert modules == {"to_q", "to_k", "to_v", "to_out.0"}
    assert torch.equal(forward(unet), before)
    for name, parameter in parameters.items():
        assert parameter.requires_grad
        assert bool(parameter.any()) == ("lora_A" in name)
    trainable = {id(p) for p in unet.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in parameters.values()}


def test_an_adapter_starts_from_its_seed_and_leaves_the_global_generator_alone(make_unet):
    torch.manual_seed(1)
    one = add_adapter(make_unet(), rank=2, seed=7)
    unet = make_unet()
    state = torch.random.get_rng_state()
    two = add_adapter(unet, rank=2, seed=7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 5e-2)])
def test_an_adapter_computes_and_learns_as_pefts_does(make_unet, dtype, tolerance):
    from peft import LoraConfig

    dtype = getattr(torch, dtype)
    ours, pefts = make_unet().to(dtype), make_unet().to(dtype)
    parameters = add_adapter(ours, rank=2, seed=0)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=list(TARGET_MODULES))
    pefts.add_adapter(config, adapter_name="other")
    others = {n.replace(".other.", "."): p for n, p in pefts.named_parameters() if "lora" in n}
    assert others.keys() == parameters.keys()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in parameters:
            parameters[name].normal_(std=0.3, generator=generator)
            others[name].data = parameters[name].detach().clone()
    inputs = torch.randn(2, 4, 4, 4, generator=generator, dtype=dtype)
    text = torch.randn(2, 5, 8, generator=generator, dtype=dtype)
    results = []
    for unet, factors in ((ours, parameters), (pefts, others)):
        result = unet(inputs, torch.tensor([5, 600]), encoder_hidden_states=text).sample.float()
        result.square().mean().backward()
        gradient = torch.cat([factors[name].grad.flatten() for name in parameters])
        results.append((result.detach(), gradient))
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() <= tolerance * other.norm()


def test_an_adapter_of_a_half_precision_unet_is_float32(make_unet):
    parameters = add_adapter(make_unet().to(torch.bfloat16), rank=2, seed=0)
    assert {parameter.dtype for parameter in parameters.values()} == {torch.float32}


def test_each_epoch_visits_every_item_once():
    seen = Counter()
    for step in range(7):  # 7 steps of 4 are 4 epochs of 7
        draws = draw_step(
            seed=0, name="count", step=step, batch_size=4, number=7, latent_shape=(1, 1, 1),
            train_timesteps=10,
        )  # fmt: skip
        seen.update(draws.items.tolist())
    assert seen == dict.fromkeys(range(7), 4)


def test_a_batch_may_be_larger_than_the_training_set():
    draws = draw_step(
        seed=0, name="count", step=5, batch_size=9, number=2, latent_shape=(4, 2, 2),
        train_timesteps=10,
    )  # fmt: skip
    assert sorted(Counter(draws.items.tolist()).values()) == [4, 5]


def test_a_step_and_a_skill_have_their_own_noise():
    def noise(name, step):
        return draw_step(
            seed=0, name=name, step=step, batch_size=2, number=7, latent_shape=(1, 2, 2),
            train_timesteps=10,
        ).noise  # fmt: skip

    assert torch.equal(noise("count", 1), noise("count", 1))
    assert not torch.equal(noise("count", 1), noise("count", 2))
    assert not torch.equal(noise("count", 1), noise("common", 1))


@pytest.mark.parametrize("last", [1, 2, 5])
def test_a_killed_expert_resumes_to_the_same_bytes(run, tmp_path, last):
    whole = run()
    keep = Checkpointing(tmp_path / "state.safetensors", 2)
    with pytest.raises(KilledError):
        run(checkpointing=keep, on_step=die_at(last))
    resumed = run(checkpointing=keep)
    assert equal(resumed, whole)
    assert list(resumed.losses) == list(whole.losses)


def test_the_same_arguments_give_the_same_bytes_and_another_seed_does_not(run):
    assert equal(run(), run())
    assert not equal(run(), run(seed=4))


def test_experts_of_all_skills_start_from_the_same_a(run):
    one = run(train_steps=1, learning_rate=1e-12, weight_decay=0.0)
    two = run(train_steps=1, learning_rate=1e-12, weight_decay=0.0, name="common")
    for name in one.tensors:
        torch.testing.assert_close(one.tensors[name], two.tensors[name])


def test_training_changes_the_adapter_alone(run, make_unet):
    unet = make_unet()
    frozen = {name: p.clone() for name, p in unet.named_parameters()}
    expert = run(unet=unet)
    trained = {n.replace(".base.", "."): p for n, p in unet.named_parameters()}
    assert all(torch.equal(trained[name], tensor) for name, tensor in frozen.items())
    assert all(tensor.any() for tensor in expert.tensors.values())


def test_a_step_lowers_the_loss_of_its_own_batch(run, make_unet, make_noise_scheduler, examples):
    unet = make_unet()
    before = run(unet=unet, train_steps=1, learning_rate=1e-3).losses[0]
    draws = draw_step(
        seed=3, name="count", step=0, batch_size=4, number=7, latent_shape=(4, 4, 4),
        train_timesteps=1000,
    )  # fmt: skip
    alphas_bar = make_noise_scheduler().alphas_cumprod
    with torch.no_grad():
        after = denoising_loss(unet, examples, draws, alphas_bar, "v_prediction").item()
    assert after < before


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_target_follows_the_noise_scheduler(run, make_noise_scheduler, prediction_type):
    from selma.training.objective import TARGETS

    scheduler = make_noise_scheduler(prediction_type)
    seen = {}
    for name in TARGETS:
        seen[name] = run(scheduler=make_noise_scheduler(name), train_steps=1).losses[0]
    assert run(scheduler=scheduler, train_steps=1).losses == [seen[prediction_type]]
    assert len(set(seen.values())) == 3


def test_an_unknown_prediction_type_stops_before_the_first_step(run, make_noise_scheduler):
    scheduler = make_noise_scheduler()
    scheduler.register_to_config(prediction_type="flow")
    with pytest.raises(ConfigError, match="flow"):
        run(scheduler=scheduler)


def test_the_gradient_is_clipped_over_all_factors_together(run, tmp_path):
    from safetensors.torch import load_file

    keep = Checkpointing(tmp_path / "state.safetensors", 1)
    run(train_steps=1, max_gradient_norm=1e-3, checkpointing=keep)
    moments = [t for k, t in load_file(keep.path).items() if k.startswith("optimiser/exp_avg/")]
    norm = torch.stack([moment.norm() for moment in moments]).norm()
    assert norm.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)  # (1 − β₁) · clipped gradient
