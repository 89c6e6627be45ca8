"""A router's layers compute what an explicit sum over experts does."""

import pytest
import torch
from apart import dense, difference, linear_layers, pictures, random_experts

from selma.core.errors import AdapterMismatchError, ConfigError
from selma.diffusion.loading import add_updates
from selma.diffusion.routing import RoutedLinear, add_router

# diffusers' Euler scheduler with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
NAMES = ("count", "common", "paragraph")
TINY = 1e-5


def route(backbone, layers, gates=None, names=NAMES, top_k=None):
    top_k = len(names) if top_k is None else top_k
    add_router(backbone, layers, names, top_k=top_k, gates=gates, source="x.safetensors")
    return backbone


def predicted(backbone):
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(2, *backbone.latent_shape, generator=generator)
    conditions = backbone.encode_prompts(["a cat", "two dogs"])
    with torch.no_grad():
        return backbone.predict(noisy, torch.tensor([5, 700]), conditions)


def with_updates(backbone, layers, weights):
    add_updates(backbone.components, dense(layers, weights), "x")
    return backbone


def test_gates_of_zero_are_the_uniform_mean_of_the_experts(make_backbone):
    layers = random_experts(make_backbone())
    mean = with_updates(make_backbone(), layers, dict.fromkeys(NAMES, 1 / 3))
    routed = route(make_backbone(), layers)
    assert (predicted(routed) - predicted(mean)).abs().max() <= TINY
    assert (predicted(routed) - predicted(make_backbone())).abs().max() > 0.01
    assert difference(pictures(routed), pictures(mean)) <= 1
    assert difference(pictures(mean), pictures(make_backbone())) > 5


def test_gates_of_zero_are_that_mean_for_every_top_k(make_backbone):
    layers = random_experts(make_backbone())
    whole = predicted(route(make_backbone(), layers))
    for top_k in (1, 2):
        assert torch.equal(predicted(route(make_backbone(), layers, top_k=top_k)), whole)


def layer_of(experts, gate, top_k=3, dtype=torch.float32):
    torch.manual_seed(0)
    base = torch.nn.Linear(4, 6).requires_grad_(False).to(dtype)
    return RoutedLinear(base, experts, gate, top_k)


def some_experts(number=3):
    generator = torch.Generator().manual_seed(2)
    ranks = [1 + place for place in range(number)]
    return [
        (torch.randn(r, 4, generator=generator), torch.randn(6, r, generator=generator))
        for r in ranks
    ]


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_each_token_gets_the_experts_in_the_shares_of_its_own_softmax(top_k):
    generator = torch.Generator().manual_seed(3)
    experts, gate = some_experts(), torch.randn(3, 4, generator=generator)
    layer = layer_of(experts, gate, top_k)
    tokens = torch.randn(2, 5, 4, generator=generator)
    got = layer(tokens)
    for n in range(2):
        for t in range(5):
            x = tokens[n, t]
            logits = gate @ x
            kept = sorted(range(3), key=lambda i: -float(logits[i]))[:top_k]
            total = sum(torch.exp(logits[i]) for i in kept)
            expected = layer.base.weight @ x + layer.base.bias
            for i in kept:
                lora_a, lora_b = experts[i]
                expected = expected + torch.exp(logits[i]) / total * (lora_b @ (lora_a @ x))
            torch.testing.assert_close(got[n, t], expected, rtol=1e-5, atol=1e-5)


def test_a_gate_that_is_one_hot_is_that_expert_alone():
    experts, base = some_experts(), layer_of(some_experts(), torch.zeros(3, 4)).base
    x = torch.rand(7, 4) + 1  # positive, so that a large row wins
    for chosen, (lora_a, lora_b) in enumerate(experts):
        gate = torch.zeros(3, 4)
        gate[chosen] = 100.0
        got = layer_of(experts, gate)(x)
        expected = torch.nn.functional.linear(x, base.weight + lora_b @ lora_a, base.bias)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_an_expert_that_lacks_a_layer_counts_as_zero_there():
    experts = [some_experts()[0], None]
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    layer = layer_of(experts, torch.zeros(2, 4), top_k=2)
    lora_a, lora_b = experts[0]
    torch.testing.assert_close(layer(x), layer.base(x) + (x @ lora_a.T @ lora_b.T) / 2)


def test_another_order_of_the_experts_with_their_gates_changes_nothing():
    experts, gate = some_experts(), torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    order = [2, 0, 1]
    other = layer_of([experts[i] for i in order], gate[order], top_k=2)
    torch.testing.assert_close(layer_of(experts, gate, top_k=2)(x), other(x))


def test_gates_and_their_softmax_are_float32_in_a_half_precision_layer():
    gate = torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    layer = layer_of(some_experts(), gate, dtype=torch.bfloat16)
    x = torch.randn(3, 4).bfloat16()
    assert layer(x).dtype == torch.bfloat16
    assert torch.equal(layer.shares(x), (x.float() @ gate.T).softmax(-1))
    assert [name for name, p in layer.named_parameters() if p.requires_grad] == ["gate"]


def test_a_half_precision_backbone_with_a_router_draws(make_backbone):
    backbone = make_backbone("bfloat16")
    assert pictures(route(backbone, random_experts(backbone))).std() > 5


def test_a_picture_does_not_depend_on_its_batch(make_backbone):
    backbone = make_backbone()
    layers = random_experts(backbone)
    generator = torch.Generator().manual_seed(3)
    gates = {
        name: torch.randn(3, module.in_features, generator=generator)
        for name, module in linear_layers(backbone).items()
    }
    route(backbone, layers, gates)
    assert difference(pictures(backbone), pictures(backbone, batch_size=2)) <= 1
    plain = route(make_backbone(), layers)
    assert difference(pictures(backbone), pictures(plain)) > 1


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("text_encoder.encoder.layers.0.q", "is a layer of text_encoder; experts that are routed"),
        ("unet.mid_block.nothing", "the base model has no such layer"),
        ("unet.conv_in", "is a Conv2d; only linear layers can be routed"),
    ],
)
def test_layers_that_cannot_be_routed_are_named(make_backbone, layer, words):
    factors = {"count": (torch.ones(1, 4), torch.ones(4, 1))}
    with pytest.raises(AdapterMismatchError, match=rf"x\.safetensors: {layer}: {words}"):
        route(make_backbone(), {layer: factors}, names=("count",))


def test_updates_and_gates_of_another_shape_are_named(make_backbone):
    backbone = make_backbone()
    name, module = next(iter(linear_layers(backbone).items()))
    wide = {name: {"count": (torch.ones(1, 99), torch.ones(module.out_features, 1))}}
    with pytest.raises(AdapterMismatchError, match=r"update is \(\d+, 99\), the base model's"):
        route(backbone, wide, names=("count",))
    fits = {name: {"count": (torch.ones(1, module.in_features), wide[name]["count"][1])}}
    with pytest.raises(AdapterMismatchError, match=r"its gate is \(2, 3\), expected \(1, "):
        route(backbone, fits, {name: torch.zeros(2, 3)}, names=("count",))


@pytest.mark.parametrize(
    ("names", "top_k", "words"),
    [
        (NAMES, 4, "top_k: expected 1 to 3, the number of skills; got 4"),
        (NAMES, 0, "top_k: expected 1 to 3"),
        (("count", "count"), 1, "skills: count, count: one is named twice"),
    ],
)
def test_a_top_k_or_names_that_make_no_sense_are_refused(make_backbone, names, top_k, words):
    with pytest.raises(ConfigError, match=words):
        route(make_backbone(), {}, names=names, top_k=top_k)
