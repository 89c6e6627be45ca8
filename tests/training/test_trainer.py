from collections import Counter

import pytest
import torch

from selma.core.errors import ConfigError
from selma.diffusion.stable_diffusion import StableDiffusion
from selma.training.adapters import add_adapters
from selma.training.loop import Checkpointing
from selma.training.steps import denoising_losses, draw_step
from selma.training.trainer import train_experts

SETTINGS = {
    "seed": 3,
    "rank": 2,
    "learning_rate": 1e-2,
    "weight_decay": 0.01,
    "train_steps": 6,
    "batch_size": 4,
    "max_gradient_norm": 1.0,
    "targets": None,
    "micro_batch_size": 4,
    "min_snr_gamma": None,
    "average_decay": None,
    "flip": False,
    "select": None,
}
TARGETS = StableDiffusion.targets
KINDS = ("epsilon", "v_prediction", "sample")


@pytest.fixture
def run(make_backbone, examples):
    def run(*, backbone=None, name="count", **changes):
        settings = {**SETTINGS, **changes}
        return train_experts(backbone or make_backbone(), {name: examples}, **settings)[name]

    return run


def adapter(unet, seed=0):
    return add_adapters(unet, ["one"], targets=TARGETS, rank=2, seed=seed)["one"]


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
    parameters = adapter(unet, seed=0)
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
    one = adapter(make_unet(), seed=7)
    unet = make_unet()
    state = torch.random.get_rng_state()
    two = adapter(unet, seed=7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 5e-2)])
def test_an_adapter_computes_and_learns_as_pefts_does(make_unet, dtype, tolerance):
    from peft import LoraConfig

    dtype = getattr(torch, dtype)
    ours, pefts = make_unet().to(dtype), make_unet().to(dtype)
    parameters = adapter(ours, seed=0)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=list(TARGETS))
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
    parameters = adapter(make_unet().to(torch.bfloat16), seed=0)
    assert {parameter.dtype for parameter in parameters.values()} == {torch.float32}


def test_each_epoch_visits_every_item_once():
    seen = Counter()
    for step in range(7):  # 7 steps of 4 are 4 epochs of 7
        draws = draw_step(
            seed=0, name="count", step=step, batch_size=4, number=7, latent_shape=(1, 1, 1),
            flip=False,
        )  # fmt: skip
        seen.update(draws.items.tolist())
    assert seen == dict.fromkeys(range(7), 4)


def test_a_batch_may_be_larger_than_the_training_set():
    draws = draw_step(
        seed=0, name="count", step=5, batch_size=9, number=2, latent_shape=(4, 2, 2),
        flip=False,
    )  # fmt: skip
    assert sorted(Counter(draws.items.tolist()).values()) == [4, 5]


def test_a_step_and_a_skill_have_their_own_noise():
    def noise(name, step):
        return draw_step(
            seed=0, name=name, step=step, batch_size=2, number=7, latent_shape=(1, 2, 2),
            flip=False,
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


def test_training_changes_the_adapter_alone(run, backbone):
    frozen = {name: p.clone() for name, p in backbone.denoiser.named_parameters()}
    expert = run(backbone=backbone)
    trained = {n.replace(".base.", "."): p for n, p in backbone.denoiser.named_parameters()}
    assert all(torch.equal(trained[name], tensor) for name, tensor in frozen.items())
    assert all(tensor.any() for tensor in expert.tensors.values())


def test_a_step_lowers_the_loss_of_its_own_batch(run, backbone, examples):
    before = run(backbone=backbone, train_steps=1, learning_rate=1e-3).losses[0]
    draws = draw_step(
        seed=3, name="count", step=0, batch_size=4, number=7, latent_shape=(4, 4, 4),
        flip=False,
    )  # fmt: skip
    with torch.no_grad():
        after = denoising_losses(backbone, [(examples, draws)]).mean().item()
    assert after < before


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_target_follows_the_noise_scheduler(run, make_backbone, prediction_type):
    losses = {name: run(backbone=make_backbone(name), train_steps=1).losses[0] for name in KINDS}
    assert run(backbone=make_backbone(prediction_type), train_steps=1).losses == [
        losses[prediction_type]
    ]
    assert len(set(losses.values())) == 3


def test_an_unknown_prediction_type_is_refused(make_backbone):
    with pytest.raises(ConfigError, match="flow"):
        make_backbone("flow")


def test_a_target_that_fits_no_layer_is_refused(run):
    with pytest.raises(ConfigError, match=r"lora\.targets: no .*UNet.* ends in 'to_nothing'"):
        run(targets=["to_q", "to_nothing"])


def test_targets_choose_the_layers(run):
    names = run(targets=["attn2.to_k"], train_steps=1).tensors
    assert names
    assert all(".attn2.to_k.lora_" in name for name in names)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_micro_batches_add_up_to_the_whole_batch(run, size):
    whole, cut = run(learning_rate=1e-3), run(learning_rate=1e-3, micro_batch_size=size)
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(cut.tensors[name], tensor, rtol=0, atol=1e-5)
    assert list(cut.losses) == pytest.approx(list(whole.losses), rel=1e-5)


def test_the_moving_average_of_the_steps_is_handed_out(run):
    last, averaged = run(), run(average_decay=0.5)
    differences = [(averaged.tensors[n] - last.tensors[n]).abs().max() for n in last.tensors]
    assert max(differences) > 1e-4
    assert list(averaged.losses) == list(last.losses)


def test_min_snr_weighs_the_losses(run, backbone, examples):
    draws = draw_step(
        seed=3, name="count", step=0, batch_size=4, number=7, latent_shape=(4, 4, 4), flip=False
    )
    plain = denoising_losses(backbone, [(examples, draws)])
    weighed = denoising_losses(backbone, [(examples, draws)], 5.0)
    alpha = backbone.noising.alphas_bar[(draws.levels * 1000).long()]
    snr = alpha / (1 - alpha)
    torch.testing.assert_close(weighed, plain * snr.clamp(max=5) / (snr + 1))


def test_some_pictures_are_mirrored_if_asked_and_none_if_not():
    def flipped(flip):
        draws = draw_step(
            seed=0, name="count", step=0, batch_size=400, number=7, latent_shape=(1, 1, 1),
            flip=flip,
        )  # fmt: skip
        return draws.flipped.sum().item()

    assert flipped(False) == 0
    assert 150 < flipped(True) < 250


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_trains_a_float32_adapter_to_about_the_same(run, make_backbone, dtype):
    full, half = run(), run(backbone=make_backbone(dtype=dtype))
    assert list(half.losses) == pytest.approx(list(full.losses), rel=0.02)
    one = torch.cat([full.tensors[name].flatten() for name in full.tensors])
    other = torch.cat([half.tensors[name].flatten() for name in full.tensors])
    assert other.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.9


def test_a_killed_float16_training_resumes_to_the_same_bytes(run, make_backbone, tmp_path):
    whole = run(backbone=make_backbone(dtype=torch.float16))
    keep = Checkpointing(tmp_path / "state.safetensors", 2)
    with pytest.raises(KilledError):
        run(backbone=make_backbone(dtype=torch.float16), checkpointing=keep, on_step=die_at(3))
    assert equal(run(backbone=make_backbone(dtype=torch.float16), checkpointing=keep), whole)


def test_the_gradient_is_clipped_over_all_factors_together(run, tmp_path):
    from safetensors.torch import load_file

    keep = Checkpointing(tmp_path / "state.safetensors", 1)
    run(train_steps=1, max_gradient_norm=1e-3, checkpointing=keep)
    moments = [t for k, t in load_file(keep.path).items() if k.startswith("optimiser/exp_avg/")]
    norm = torch.stack([moment.norm() for moment in moments]).norm()
    assert norm.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)  # (1 − β₁) · clipped gradient


def test_parameters_come_sorted_by_name(make_unet):
    names = list(adapter(make_unet()))
    assert names == sorted(names)
