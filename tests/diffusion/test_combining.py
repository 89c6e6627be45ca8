"""LoRA Switch and LoRA Composite draw what the experts do, by turns or together."""

import numpy as np
import pytest
import torch
from apart import HOW, dense, difference, pictures, random_experts

from selma.core.errors import AdapterMismatchError
from selma.diffusion.combining import Composite, ExpertWeights, Switch
from selma.diffusion.loading import add_updates
from selma.diffusion.sampling import draw_batch
from selma.diffusion.steps import take_step

# diffusers' Euler scheduler with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
NAMES = ("count", "common", "paragraph")


def weights_of(backbone, names=NAMES, same=None):
    """The experts' weights, or those of one expert under several names."""
    layers = random_experts(backbone)
    updates = {name: dense(layers, {same or name: 1.0}) for name in names}
    return ExpertWeights(backbone, updates, {name: f"{name}.safetensors" for name in names})


def of_expert(make_backbone, name):
    backbone = make_backbone()
    add_updates(backbone.components, dense(random_experts(backbone), {name: 1.0}), "x")
    return backbone


def of_switch(make_backbone, *, names=NAMES, order=NAMES, every_steps=1, **changes):
    backbone = make_backbone()
    switch = Switch(weights_of(backbone, names), order, every_steps)
    return pictures(backbone, take_step=switch, **changes)


def of_composite(make_backbone, *, names=NAMES, order=NAMES, same=None, **changes):
    backbone = make_backbone()
    return pictures(
        backbone, take_step=Composite(weights_of(backbone, names, same), order), **changes
    )


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_one_expert_by_turns_or_composed_is_that_expert(make_backbone, guidance_scale):
    how = {"guidance_scale": guidance_scale}
    expert = pictures(of_expert(make_backbone, "count"), **how)
    assert np.array_equal(of_switch(make_backbone, order=["count"], **how), expert)
    assert np.array_equal(of_composite(make_backbone, order=["count"], **how), expert)
    assert difference(pictures(make_backbone(), **how), expert) > 5


def test_a_composite_of_copies_is_the_expert(make_backbone):
    expert = pictures(of_expert(make_backbone, "common"))
    assert difference(of_composite(make_backbone, same="common"), expert) <= 1
    assert difference(of_composite(make_backbone, order=["common", "common"]), expert) <= 1


def by_hand(make_backbone, take):
    """Draw the first requests with whole backbones, one for each expert."""
    from apart import REQUESTS

    backbones = {name: of_expert(make_backbone, name) for name in NAMES}
    prompts, seeds = [r.prompt for r in REQUESTS], [r.seed for r in REQUESTS]
    told = {}
    with torch.inference_mode():
        for name, backbone in backbones.items():
            told[name] = backbone.unconditional(len(prompts)), backbone.encode_prompts(prompts)
        backbone = backbones[NAMES[0]]
        trajectory = backbone.trajectory(HOW["inference_steps"])
        noise = [
            torch.randn(1, *backbone.latent_shape, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        latents = torch.cat(noise) * trajectory.initial_scale
        for number, timestep in enumerate(trajectory.timesteps):
            seen = trajectory.seen(latents, timestep)
            predictions = {
                name: [one.predict(seen, timestep, which) for which in told[name]]
                for name, one in backbones.items()
            }
            latents = trajectory.step(take(number, predictions), timestep, latents)
        pixels = backbone.decode(latents)
    scaled = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    return np.round(scaled).astype(int)


def guided(pair):
    without, with_text = pair
    return without + HOW["guidance_scale"] * (with_text - without)


def test_a_composite_follows_the_mean_of_the_guided_predictions(make_backbone):
    mean = by_hand(make_backbone, lambda _, told: sum(guided(told[name]) for name in NAMES) / 3)
    assert difference(of_composite(make_backbone), mean) <= 1
    assert difference(of_composite(make_backbone), pictures(of_expert(make_backbone, "count"))) > 1


@pytest.mark.parametrize("every_steps", [1, 2, 7])
@pytest.mark.parametrize("order", [NAMES, ("paragraph", "count")])
def test_experts_take_turns_in_their_order_each_so_many_steps(make_backbone, order, every_steps):
    def take(number, told):
        return guided(told[order[number // every_steps % len(order)]])

    assert (
        difference(
            of_switch(make_backbone, order=order, every_steps=every_steps),
            by_hand(make_backbone, take),
        )
        <= 1
    )


def test_the_order_of_a_switch_matters(make_backbone):
    assert difference(of_switch(make_backbone), of_switch(make_backbone, order=NAMES[::-1])) > 1


def test_without_guidance_a_composite_is_the_mean_of_the_experts_predictions(make_backbone):
    mean = by_hand(make_backbone, lambda _, told: sum(told[name][1] for name in NAMES) / 3)
    assert difference(of_composite(make_backbone, guidance_scale=1.0), mean) <= 1


def test_a_picture_does_not_depend_on_its_batch(make_backbone):
    for draw in (of_switch, of_composite):
        assert difference(draw(make_backbone), draw(make_backbone, batch_size=2)) <= 1


def test_an_experts_weights_are_those_of_the_added_update_to_the_bit(make_backbone):
    backbone = make_backbone()
    weights = weights_of(backbone)
    before = {n: p.clone() for n, p in backbone.denoiser.named_parameters()}
    for name in (*NAMES, "count"):
        weights.use(name)
        added = dict(of_expert(make_backbone, name).denoiser.named_parameters())
        found = dict(backbone.denoiser.named_parameters())
        assert found.keys() == added.keys() == before.keys()
        assert all(torch.equal(found[key], added[key]) for key in added)
    assert any(not torch.equal(found[key], before[key]) for key in before)


def test_a_layer_that_only_one_expert_has_is_the_backbones_own_for_the_others(make_backbone):
    backbone = make_backbone()
    layers = random_experts(backbone)
    first = sorted(layers)[0]
    few = {first: layers[first]}
    updates = {"count": dense(layers, {"count": 1.0}), "common": dense(few, {"common": 1.0})}
    weights = ExpertWeights(backbone, updates, {"count": "x", "common": "y"})
    last = sorted(layers)[-1].removeprefix("unet.")
    own = make_backbone().denoiser.get_submodule(last).weight
    weights.use("count")
    assert not torch.equal(backbone.denoiser.get_submodule(last).weight, own)
    weights.use("common")
    assert torch.equal(backbone.denoiser.get_submodule(last).weight, own)


def test_the_text_is_projected_once_a_batch_for_each_expert(make_backbone):
    backbone = make_backbone()
    weights = weights_of(backbone)
    calls = []
    names = [n for n, _ in backbone.denoiser.named_modules() if n.endswith("attn2.to_k")]
    for name in names:
        layer = backbone.denoiser.get_submodule(name)

        def forward(text, layer=layer, name=name):
            calls.append(name)
            return torch.nn.functional.linear(text, layer.weight, layer.bias)

        layer.forward = forward
    composite = Composite(weights, NAMES)
    draw_batch(["a cat"], [1], backbone, take_step=composite, **HOW)
    assert sorted(calls) == sorted(names * len(NAMES))


def test_a_step_is_numbered_and_may_do_what_it_likes_with_the_latents(make_backbone):
    backbone, seen = make_backbone(), []

    def shrink(step):
        seen.append((step.number, int(step.timestep)))
        assert torch.equal(step.predict(step.latents), step.predict(step.latents))
        return take_step(step) * 0.5

    shrunk = pictures(backbone, take_step=shrink)
    timesteps = backbone.trajectory(HOW["inference_steps"]).timesteps
    assert seen == [(number, int(timestep)) for number, timestep in enumerate(timesteps)]
    assert difference(shrunk, pictures(backbone)) > 5


def test_another_text_in_a_step_is_projected_anew(make_backbone):
    backbone, seen = make_backbone(), []
    other = backbone.encode_prompts(["a long blue boat"])

    def ask(step):
        seen.append(backbone.predict(step.latents, step.timestep, other))

    def first(step):
        ask(step)
        return take_step(step)

    def afterwards(step):
        following = take_step(step)
        ask(step)
        return following

    for order in (first, afterwards):
        how = {"guidance_scale": 1.0, "inference_steps": 1}
        draw_batch(["a cat"], [1], backbone, take_step=order, **how)
    assert torch.equal(*seen)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("text_encoder.encoder.layers.0.q", "is a layer of text_encoder; experts that are routed"),
        ("unet.mid_block.nothing", "the base model has no such layer"),
        ("unet.conv_in", r"update is \(1, 1\), the base model's weight is \(16, 4, 3, 3\)"),
    ],
)
def test_layers_that_an_expert_cannot_change_are_named(make_backbone, layer, words):
    updates = {"count": [(layer, torch.ones(1, 1))]}
    with pytest.raises(AdapterMismatchError, match=rf"c\.safetensors: {layer}: {words}"):
        ExpertWeights(make_backbone(), updates, {"count": "c.safetensors"})
