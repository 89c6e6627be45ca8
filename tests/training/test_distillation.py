"""A student learns what its teachers would do on the way of its own pictures."""

import pytest
import torch

from selma.adapters.factors import LoraFactors
from selma.core.errors import AdapterMismatchError, ConfigError
from selma.core.seeds import derive_seed
from selma.diffusion.loading import add_updates
from selma.diffusion.sampling import draw_batch
from selma.diffusion.steps import take_step
from selma.training.adapters import put_adapter
from selma.training.distillation import Guidance, distil, own_latents

NAMES = ("common", "count", "paragraph")
PROMPTS = {
    "common": {"common-0": "a b", "common-1": "c"},
    "count": {"count-0": "two d", "count-1": "three e e", "count-2": "f"},
}
WEIGHTS = {"common": 1.0, "count": 1.0}
WAY = {"guidance_scale": 3.0, "inference_steps": 2, "points": 2}
SETTINGS = {
    "name": "mine", "seed": 3, "kind": "composite", "weights": WEIGHTS, "guidance_scale": 3.0,
    "match": "guided", "trajectory": WAY, "batch_size": 5, "micro_batch_size": 10,
    "checkpoint_every_steps": 2, "learning_rate": 0.01, "weight_decay": 0.0, "train_steps": 1,
    "max_gradient_norm": 1.0, "average_decay": None, "source": "s.safetensors",
    "sources": {name: f"{name}.safetensors" for name in NAMES},
}  # fmt: skip


def adapter_of(backbone, name):
    """An adapter on all projections, of rank 2 and scale 0.5, that depends on its name alone."""
    generator = torch.Generator().manual_seed(NAMES.index(name))
    return {
        f"unet.{path}": LoraFactors(
            torch.randn(2, module.in_features, generator=generator),
            0.3 * torch.randn(module.out_features, 2, generator=generator),
            scale=0.5,
        )
        for path, module in backbone.denoiser.named_modules()
        if isinstance(module, torch.nn.Linear) and path.endswith(backbone.targets)
    }


def run(make_backbone, directory, *, student="paragraph", experts=("common", "count"), **changes):
    prompts = {skill: PROMPTS[skill] for skill in experts}
    settings = {**SETTINGS, "weights": {skill: WEIGHTS[skill] for skill in experts}, **changes}
    backbone = make_backbone()
    return distil(
        adapter_of(backbone, student), {name: adapter_of(backbone, name) for name in experts},
        prompts, backbone, directory, **settings,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("match", ["guided", "conditional"])
@pytest.mark.parametrize("kind", ["composite", "skill"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_student_that_is_its_only_teacher_loses_nothing(
    make_backbone, tmp_path, dtype, match, kind, scale
):
    trained = run(
        lambda: make_backbone(dtype=dtype), tmp_path, student="count", experts=["count"],
        kind=kind, match=match, guidance_scale=scale, trajectory={**WAY, "guidance_scale": scale},
    )  # fmt: skip
    assert (trained.losses, trained.norms) == ([0.0], [0.0])


def of_whole(make_backbone, name):
    """A backbone with an adapter added to its weights."""
    backbone = make_backbone()
    adapter = adapter_of(backbone, name)
    add_updates(backbone.components, ((key, one.delta()) for key, one in adapter.items()), "x")
    return backbone


def predictions(backbone, prompts, latents, timestep):
    """Without a text and with it."""
    told = backbone.unconditional(len(prompts)), backbone.encode_prompts(prompts)
    return [backbone.predict(latents, timestep, which) for which in told]


def guided(scale, without, with_text):
    return without + scale * (with_text - without)


def points_by_hand(make_backbone, student, prompts, seeds):
    """The latents of the student's drawing before its two steps, with their timesteps."""
    backbone = of_whole(make_backbone, student)
    trajectory = backbone.trajectory(2)
    latents = torch.cat(
        [torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
    for timestep in trajectory.timesteps:
        yield latents, timestep
        both = predictions(backbone, prompts, latents, timestep)
        latents = trajectory.step(guided(3.0, *both), timestep, latents)


def first_batch():
    """The five prompts in some order; each comes once, and the loss does not depend on it."""
    from selma.training.steps import item_order

    items = [(s, *one) for s in sorted(PROMPTS) for one in sorted(PROMPTS[s].items())]
    chosen = [items[row] for row in item_order(3, "mine", 0, 5)]
    seeds = [derive_seed(3, "distil", "mine", place, one[1]) for place, one in enumerate(chosen)]
    return [one[0] for one in chosen], [one[2] for one in chosen], seeds


def composite_target(scale, weights, skills, told):
    total = sum(weights.values())
    return sum(weights[name] / total * guided(scale, *told[name]) for name in weights)


def own_target(scale, weights, skills, told):
    both = {name: guided(scale, *told[name]) for name in weights}
    return torch.stack([both[skill][row] for row, skill in enumerate(skills)])


@pytest.mark.parametrize(
    ("kind", "match", "scale", "weights", "target"),
    [
        ("composite", "guided", 3.0, WEIGHTS, composite_target),
        ("composite", "guided", 4.5, {"common": 1.0, "count": 3.0}, composite_target),
        ("composite", "conditional", 4.5, WEIGHTS, composite_target),
        ("skill", "guided", 3.0, WEIGHTS, own_target),
        ("skill", "conditional", 3.0, WEIGHTS, own_target),
    ],
)
def test_the_loss_is_the_mean_squared_difference_to_whole_experts(
    make_backbone, tmp_path, kind, match, scale, weights, target
):
    trained = run(
        make_backbone, tmp_path, kind=kind, match=match, guidance_scale=scale, weights=weights
    )
    skills, prompts, seeds = first_batch()
    wholes = {name: of_whole(make_backbone, name) for name in (*weights, "paragraph")}
    students, teachers = (3.0, scale) if match == "guided" else (1.0, scale / 3.0)
    errors = []
    for latents, timestep in points_by_hand(make_backbone, "paragraph", prompts, seeds):
        told = {n: predictions(one, prompts, latents, timestep) for n, one in wholes.items()}
        wanted = target(teachers, weights, skills, told)
        errors.append((guided(students, *told["paragraph"]) - wanted).square().mean())
    assert trained.losses[0] == pytest.approx(float(sum(errors) / 2), rel=1e-4)
    assert trained.losses[0] > 1e-3


def test_the_students_latents_are_those_of_the_picture_with_its_seed(make_backbone):
    backbone = make_backbone()
    put_adapter(backbone, adapter_of(backbone, "count"), "x")
    drawn = {}

    def look(step):
        drawn[step.number] = step.latents.clone()
        return take_step(step)

    how = {"guidance_scale": 3.0, "inference_steps": 4}
    draw_batch(["a b", "c"], [5, 6], backbone, take_step=look, **how)
    told = backbone.encode_prompts(["a b", "c"])
    found = own_latents(backbone, ["a b", "c"], told, [5, 6], numbers=[0, 2, 3], **how)
    assert sorted(found) == [0, 2, 3]
    assert all(torch.equal(latents, drawn[number]) for number, latents in found.items())
    assert not any(latents.requires_grad or latents.is_inference() for latents in found.values())
    by_hand = [latents for latents, _ in points_by_hand(make_backbone, "count", ["a b"], [5])]
    found = own_latents(
        backbone, ["a b"], backbone.encode_prompts(["a b"]), [5], guidance_scale=3.0,
        inference_steps=2, numbers=[0, 1],
    )  # fmt: skip
    for number, latents in enumerate(by_hand):
        torch.testing.assert_close(found[number], latents, rtol=1e-4, atol=1e-5)


def test_conditional_matching_asks_the_teacher_for_its_excess_guidance():
    assert Guidance.of("guided", 3.0, 4.5) == Guidance(3.0, 3.0, 4.5)
    assert Guidance.of("conditional", 3.0, 4.5) == Guidance(3.0, 1.0, 1.5)
    with pytest.raises(ConfigError, match="unknown way to match 'both'"):
        Guidance.of("both", 3.0, 3.0)


def test_it_learns_and_changes_nothing_but_the_student(make_backbone, tmp_path):
    kept = []

    def keep():
        kept.append(make_backbone())
        return kept[-1]

    trained = run(keep, tmp_path, train_steps=30, checkpoint_every_steps=100)
    assert sum(trained.losses[-5:]) < 0.7 * sum(trained.losses[:5])
    adapter = adapter_of(make_backbone(), "paragraph")
    for layer, one in adapter.items():
        found = trained.tensors[f"{layer.removeprefix('unet.')}.lora_A.weight"]
        assert found.shape == one.lora_a.shape and not torch.equal(found, one.lora_a)
    plain = make_backbone().denoiser.state_dict()
    after = kept[0].denoiser.state_dict()
    for name, tensor in plain.items():
        path, _, end = name.rpartition(".")
        layer = f"{path}.base.{end}" if f"unet.{path}" in adapter else name
        assert torch.equal(after[layer], tensor)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("average_decay", [None, 0.9])
def test_a_killed_distillation_resumes_to_the_same_bytes(make_backbone, tmp_path, average_decay):
    def die(step, loss):
        if step == 3:
            raise KilledError

    settings = {"train_steps": 5, "average_decay": average_decay, "batch_size": 3}
    whole = run(make_backbone, tmp_path / "whole", **settings)
    with pytest.raises(KilledError):
        run(make_backbone, tmp_path / "killed", on_step=die, **settings)
    resumed = run(make_backbone, tmp_path / "killed", **settings)
    assert resumed.losses == whole.losses and len(whole.losses) == 5
    for name, tensor in whole.tensors.items():
        assert torch.equal(resumed.tensors[name], tensor)


def test_how_many_are_in_memory_changes_no_more_than_the_order_of_a_sum(make_backbone, tmp_path):
    losses = [
        run(make_backbone, tmp_path / str(size), micro_batch_size=size, train_steps=2).losses
        for size in (1, 4, 100)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == pytest.approx(losses[0], rel=1e-4)


def test_an_expert_that_lacks_a_layer_is_the_backbone_there(make_backbone, tmp_path):
    """An expert of nothing but zeros and one without the layers are the same teacher."""
    losses = []
    for absent in (True, False):
        backbone = make_backbone()
        expert = adapter_of(backbone, "count")
        for layer in list(expert)[1:]:
            one = expert.pop(layer)
            if not absent:
                expert[layer] = LoraFactors(one.lora_a, 0 * one.lora_b)
        trained = distil(
            adapter_of(backbone, "count"), {"count": expert}, {"count": PROMPTS["count"]},
            backbone, tmp_path / str(absent), **{**SETTINGS, "weights": {"count": 1.0}},
        )  # fmt: skip
        losses.append(trained.losses[0])
    assert losses[0] == losses[1] > 0


@pytest.mark.parametrize(
    ("student", "expert", "words"),
    [
        ("conv_in", "", r"s\.safetensors: unet\.conv_in: is a Conv2d; only linear layers can be"),
        ("nothing", "", r"s\.safetensors: unet\.nothing: the base model has no such layer"),
        ("", "conv_in", r"count\.safetensors: unet\.conv_in: is changed by this expert and not"),
    ],
)
def test_layers_that_do_not_fit_are_named(make_backbone, tmp_path, student, expert, words):
    backbone = make_backbone()
    adapters = {
        name: adapter_of(backbone, "count")
        | ({f"unet.{extra}": LoraFactors(torch.ones(1, 3), torch.ones(3, 1))} if extra else {})
        for name, extra in (("student", student), ("count", expert))
    }
    with pytest.raises(AdapterMismatchError, match=words):
        distil(
            adapters["student"], {"count": adapters["count"]}, {"count": PROMPTS["count"]},
            backbone, tmp_path, **{**SETTINGS, "weights": {"count": 1.0}},
        )  # fmt: skip


def test_an_update_of_another_shape_is_named(make_backbone, tmp_path):
    backbone = make_backbone()
    student = adapter_of(backbone, "count")
    wrong = {next(iter(student)): LoraFactors(torch.ones(1, 3), torch.ones(3, 1))}
    for pair in ((wrong, student), (student, wrong)):
        with pytest.raises(AdapterMismatchError, match=r"update is \(3, 3\), the base model's"):
            distil(
                pair[0], {"count": pair[1]}, {"count": PROMPTS["count"]}, make_backbone(), tmp_path,
                **{**SETTINGS, "weights": {"count": 1.0}},
            )  # fmt: skip
