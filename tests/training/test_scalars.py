"""Learned weights per layer and expert start as the mean and find the expert that fits the data."""

import copy

import pytest
import torch

from selma.core.errors import AdapterMismatchError
from selma.training.scalars import WeighedLinear, add_weights, learn_weights
from selma.training.trainer import train_groups

LAYERS = (
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v",
)
SETTINGS = {
    "seed": 0, "learning_rate": 0.05, "weight_decay": 0.0, "train_steps": 12, "batch_size": 4,
    "micro_batch_size": 4, "max_gradient_norm": 1.0, "min_snr_gamma": None, "average_decay": None,
    "select": None,
}  # fmt: skip


def random_factors(module, seed, rank=2, size=0.3):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, module.in_features, generator=generator)
    return a, size * torch.randn(module.out_features, rank, generator=generator)


@pytest.fixture
def updates(backbone):
    """Two experts of different ranks on two layers; the second has but one of them."""
    modules = {name: backbone.denoiser.get_submodule(name) for name in LAYERS}
    first = {name: random_factors(module, 1) for name, module in modules.items()}
    second = {LAYERS[1]: random_factors(modules[LAYERS[1]], 2, rank=3)}
    return {"count": first, "common": second}


def predict(backbone, examples):
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(3, 4, 4, 4, generator=generator)
    told = examples.conditions_of(torch.tensor([0, 1, 0]))
    with torch.no_grad():
        return backbone.predict(noisy, torch.tensor([5, 500, 900]), told)


def test_before_the_first_step_it_is_the_mean_and_an_expert_without_a_layer_is_zero_there(
    backbone, make_backbone, updates, examples
):
    other = make_backbone()
    for name in LAYERS:
        weight = other.denoiser.get_submodule(name).weight
        for expert in updates.values():
            if name in expert:
                a, b = expert[name]
                weight.data += 0.5 * b @ a
    plain = predict(backbone, examples)
    found = add_weights(backbone.denoiser, updates)
    assert {name: weights.tolist() for name, weights in found.items()} == {
        name: [0.5, 0.5] for name in LAYERS
    }
    expected = predict(other, examples)
    assert (predict(backbone, examples) - expected).abs().max() < 1e-5
    assert (plain - expected).abs().max() > 1e-3


def test_the_weights_are_in_the_order_of_the_skills_names(backbone, updates):
    found = add_weights(backbone.denoiser, updates)
    layer = backbone.denoiser.get_submodule(LAYERS[1])
    with torch.no_grad():
        found[LAYERS[1]].copy_(torch.tensor([2.0, 0.0]))  # common, count
    inputs = torch.eye(layer.base.in_features)
    a, b = updates["common"][LAYERS[1]]
    difference = layer(inputs) - layer.base(inputs)
    assert (difference - (2.0 * b @ a).T).abs().max() < 1e-5


def test_half_precision_keeps_the_factors_apart_and_gives_nearly_the_same():
    torch.manual_seed(0)
    base = torch.nn.Linear(8, 6).requires_grad_(False)
    own = {"a": random_factors(base, 1), "b": None, "c": random_factors(base, 2, rank=1)}
    inputs = torch.randn(5, 8)
    exact = WeighedLinear(base, own)(inputs)
    low = WeighedLinear(copy.deepcopy(base).bfloat16(), own)(inputs.bfloat16())
    assert low.dtype == torch.bfloat16
    assert (low.float() - exact).abs().max() < 0.05 * exact.abs().max()


def learn(backbone, examples, updates, **changes):
    group = add_weights(backbone.denoiser, updates)
    settings = {**SETTINGS, "flip": False, **changes}
    return train_groups(backbone, {"mine": group}, {"mine": examples}, **settings)["mine"]


def test_the_expert_that_fits_the_data_gains_and_its_opposite_loses(make_backbone, examples):
    """The right expert was trained on the data; the wrong one is it with another sign."""
    from selma.training.trainer import train_experts

    settings = {**SETTINGS, "rank": 2, "targets": [LAYERS[1]], "train_steps": 60, "flip": False}
    tensors = train_experts(make_backbone(), {"right": examples}, **settings)["right"].tensors
    a, b = (tensors[f"{LAYERS[1]}.lora_{part}.weight"] for part in "AB")
    updates = {"right": {LAYERS[1]: (a, b)}, "wrong": {LAYERS[1]: (a, -b)}}
    (weights,) = learn(make_backbone(), examples, updates).tensors.values()
    assert weights[0] > 0.6
    assert weights[1] < 0.4


def test_a_killed_training_ends_in_the_same_bytes(make_backbone, make_row, updates, tmp_path):
    rows = [make_row("count", number) for number in range(4)]
    settings = {**SETTINGS, "flip": False, "updates": updates, "name": "mine"}
    settings["checkpoint_every_steps"] = 2

    def die(step, loss):
        if step == 5:
            raise KeyboardInterrupt

    whole, _ = learn_weights(rows, make_backbone(), tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        learn_weights(rows, make_backbone(), tmp_path / "cut", **settings, on_step=die)
    seen = []
    again, _ = learn_weights(
        rows, make_backbone(), tmp_path / "cut", **settings, on_step=lambda s, _: seen.append(s)
    )
    assert seen[0] == 5
    assert again == whole
    assert set(whole) == set(LAYERS)
    assert set(whole[LAYERS[0]]) == {"count", "common"}
    assert whole[LAYERS[0]]["count"] != 0.5
    assert whole[LAYERS[0]]["common"] == 0.5  # it has no update here


def test_layers_that_are_not_there_not_linear_or_of_another_shape_are_refused(backbone, updates):
    factors = updates["count"][LAYERS[0]]
    for layer, problem in (
        ("nothing.to_q", "nothing.to_q: is no such layer"),
        ("conv_in", "conv_in: is a Conv2d"),
        ("time_embedding.linear_1", r"expert 'count' is \(8, 8\), the base model's weight is"),
    ):
        with pytest.raises(AdapterMismatchError, match=problem):
            add_weights(backbone.denoiser, {"count": {layer: factors}})
