"""A router's gates are trained, and nothing else."""

import pytest
import torch

from selma.diffusion.routing import add_router
from selma.training.loop import Checkpointing
from selma.training.moments import Examples
from selma.training.routers import train_router
from selma.training.steps import denoising_losses, draw_step
from selma.training.trainer import train_groups

NAMES = ("common", "count", "paragraph")
SETTINGS = {
    "seed": 3, "learning_rate": 0.05, "weight_decay": 0.0, "train_steps": 6, "batch_size": 4,
    "micro_batch_size": 2, "max_gradient_norm": 1.0, "min_snr_gamma": None, "average_decay": None,
    "flip": False, "select": None,
}  # fmt: skip


def experts_of(backbone, names=NAMES):
    """A rank-2 expert of each name on all projections; an expert depends on its name alone."""
    layers = {}
    for name, module in backbone.denoiser.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith(backbone.targets):
            experts = layers.setdefault(f"unet.{name}", {})
            for expert in names:
                generator = torch.Generator().manual_seed(NAMES.index(expert))
                lora_a = torch.randn(2, module.in_features, generator=generator)
                lora_b = 0.1 * torch.randn(module.out_features, 2, generator=generator)
                experts[expert] = (lora_a, lora_b)
    return layers


def routed(backbone, names=NAMES, layers=None):
    layers = layers or experts_of(backbone, names)
    return add_router(backbone, layers, names, top_k=len(names), gates=None, source="x")


def pictures(backbone, number=7):
    generator = torch.Generator().manual_seed(4)
    shape = (number, *backbone.latent_shape)
    moments = {"mean": torch.randn(shape, generator=generator), "deviation": torch.full(shape, 0.1)}
    conditions = backbone.encode_prompts(["a cat", "two dogs"])
    index = torch.arange(number) % 2
    return Examples([moments], list(range(number)), conditions, index, number)


def run(backbone, gates, **changes):
    examples = {"moe": pictures(backbone)}
    return train_groups(backbone, {"moe": gates}, examples, **{**SETTINGS, **changes})["moe"]


def loss_of(backbone):
    examples = pictures(backbone)
    draws = draw_step(
        seed=3, name="moe", step=0, batch_size=4, number=len(examples),
        latent_shape=examples.latent_shape, flip=False,
    )  # fmt: skip
    return denoising_losses(backbone, [(examples, draws)])


def test_the_first_losses_are_those_of_the_uniform_mean(make_backbone):
    from selma.diffusion.loading import add_updates

    backbone, mean = make_backbone(), make_backbone()
    routed(backbone)
    updates = [
        (name, sum(b.double() @ a.double() for a, b in experts.values()) / 3)
        for name, experts in experts_of(mean).items()
    ]
    add_updates(mean.components, updates, "x")
    torch.testing.assert_close(loss_of(backbone), loss_of(mean), rtol=1e-5, atol=1e-6)


def test_gradients_flow_to_the_gates_and_to_nothing_else(make_backbone):
    backbone = make_backbone()
    gates = routed(backbone)
    loss_of(backbone).sum().backward()
    given = {id(p) for p in backbone.denoiser.parameters() if p.grad is not None}
    assert given == {id(gate) for gate in gates.values()}
    assert all(bool(gate.grad.any()) for gate in gates.values())


def test_training_moves_every_gate_lowers_the_loss_and_leaves_the_rest_as_it_was(make_backbone):
    backbone = make_backbone()
    gates = routed(backbone)
    frozen = {
        name: tensor.clone()
        for name, tensor in backbone.denoiser.state_dict().items()
        if not name.endswith(".gate")
    }
    before = float(loss_of(backbone).detach().mean())
    trained = run(backbone, gates, train_steps=30, batch_size=7)
    assert float(loss_of(backbone).detach().mean()) < before
    assert all(bool(gate.any()) for gate in trained.tensors.values())
    assert trained.tensors.keys() == experts_of(make_backbone()).keys()
    for name, tensor in frozen.items():
        assert torch.equal(backbone.denoiser.state_dict()[name], tensor)


def test_a_router_of_copies_learns_nothing(make_backbone):
    """With equal experts the shares do not matter, so no gate has a gradient."""
    backbone = make_backbone()
    layers = {
        name: dict.fromkeys(NAMES, experts["count"])
        for name, experts in experts_of(backbone).items()
    }
    trained = run(backbone, routed(backbone, layers=layers), train_steps=1, learning_rate=1e-12)
    assert trained.norms[0] < 1e-6


class KilledError(Exception):
    pass


def test_a_killed_training_resumes_to_the_same_bytes(make_backbone, tmp_path):
    def die(step, loss):
        if step == 3:
            raise KilledError

    keep = Checkpointing(tmp_path / "state.safetensors", 2)
    backbone = make_backbone()
    whole = run(backbone, routed(backbone))
    backbone = make_backbone()
    with pytest.raises(KilledError):
        run(backbone, routed(backbone), checkpointing=keep, on_step=die)
    backbone = make_backbone()
    resumed = run(backbone, routed(backbone), checkpointing=keep)
    assert resumed.losses == whole.losses
    for name, gate in whole.tensors.items():
        assert torch.equal(resumed.tensors[name], gate)


def test_another_order_of_the_experts_orders_the_gates(make_backbone):
    backbone, other = make_backbone(), make_backbone()
    order = [2, 0, 1]
    one = run(backbone, routed(backbone), learning_rate=0.01)
    two = run(other, routed(other, [NAMES[i] for i in order]), learning_rate=0.01)
    assert two.losses == pytest.approx(one.losses, rel=1e-4)
    for name, gate in one.tensors.items():
        torch.testing.assert_close(two.tensors[name], gate[order], rtol=0, atol=2e-3)


def test_the_act_encodes_trains_and_keeps_its_progress_in_its_folder(
    make_backbone, make_row, tmp_path
):
    backbone = make_backbone()
    rows = [make_row("count", number, size=32) for number in range(3)]
    settings = {**SETTINGS, "train_steps": 2, "checkpoint_every_steps": 1}
    trained = train_router(
        "moe", rows, experts_of(backbone), NAMES, backbone, tmp_path, top_k=3, **settings
    )
    assert len(trained.losses) == 2
    assert all(gate.shape[0] == 3 for gate in trained.tensors.values())
    assert (tmp_path / "state.safetensors").exists()
    assert (tmp_path / "moe/moments-000000.safetensors").exists()
