"""Experts that are trained in one pass are those that are trained one by one."""

import pytest
import torch

from selma.training.adapters import LoraLinear
from selma.training.trainer import train_experts

SKILLS = ("paragraph", "count", "attributes", "counterfactual", "common")
SETTINGS = {
    "seed": 3, "rank": 2, "targets": None, "learning_rate": 1e-3, "weight_decay": 0.01,
    "train_steps": 5, "batch_size": 4, "micro_batch_size": 10, "max_gradient_norm": 0.01,
    "min_snr_gamma": 5.0, "average_decay": 0.5, "flip": False,
    "select": {"dev": 0.5, "every_steps": 2},
}  # fmt: skip


@pytest.fixture
def sets(examples):
    """A training set of its own for each skill, of other sizes."""
    orders = ([3, 0, 6, 1], [2, 5, 4, 0, 1], [6, 3], [1, 2, 3, 4, 5, 6], [0, 1, 2])
    return {name: examples.only(order) for name, order in zip(SKILLS, orders, strict=True)}


@pytest.mark.parametrize("select", [None, SETTINGS["select"]])
def test_five_experts_in_one_pass_are_those_of_five_runs(make_backbone, sets, select):
    settings = {**SETTINGS, "select": select}
    stacked = train_experts(make_backbone(), sets, **settings)
    assert list(stacked) == list(SKILLS)
    for name, examples in sets.items():
        alone = train_experts(make_backbone(), {name: examples}, **settings)[name]
        assert stacked[name].losses == pytest.approx(alone.losses, rel=1e-5)
        assert stacked[name].norms == pytest.approx(alone.norms, rel=1e-4)
        assert stacked[name].step == alone.step
        assert stacked[name].dev_losses == pytest.approx(alone.dev_losses, rel=1e-5)
        assert stacked[name].tensors.keys() == alone.tensors.keys()
        for key, tensor in alone.tensors.items():
            torch.testing.assert_close(stacked[name].tensors[key], tensor, rtol=0, atol=1e-5)
    norms = [expert.norms[0] for expert in stacked.values()]
    assert min(norms) > SETTINGS["max_gradient_norm"]  # so that clipping says something
    assert len(set(norms)) == 5


def test_a_killed_stack_resumes_to_the_same_bytes(make_backbone, sets, tmp_path):
    from selma.training.loop import Checkpointing

    class KilledError(Exception):
        pass

    def die(step, loss):
        if step == 3:
            raise KilledError

    keep = Checkpointing(tmp_path / "state.safetensors", 2)
    whole = train_experts(make_backbone(), sets, **SETTINGS)
    with pytest.raises(KilledError):
        train_experts(make_backbone(), sets, checkpointing=keep, on_step=die, **SETTINGS)
    resumed = train_experts(make_backbone(), sets, checkpointing=keep, **SETTINGS)
    for name, expert in whole.items():
        assert resumed[name].dev_losses == expert.dev_losses
        assert resumed[name].norms == expert.norms
        assert all(torch.equal(resumed[name].tensors[k], t) for k, t in expert.tensors.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(6, 5, 8), (6, 8), (6, 2, 3, 8)])
@pytest.mark.parametrize("bias", [True, False])
def test_each_adapter_sees_its_own_items_alone(dtype, shape, bias):
    base = torch.nn.Linear(8, 4, bias=bias).to(dtype).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(2, 8, generator=generator)
    stack = LoraLinear(base, first, 3)
    inputs = torch.randn(shape, generator=generator).to(dtype)
    expected = []
    for number in range(3):
        own = LoraLinear(base, first)
        with torch.no_grad():
            stack.lora_b[number].normal_(generator=generator)
            own.lora_b[0].copy_(stack.lora_b[number])
        expected.append(own(inputs[2 * number : 2 * number + 2]))
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(stack(inputs), torch.cat(expected), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("adapters", [1, 2])
def test_half_precision_keeps_an_update_that_its_weights_would_round_away(adapters):
    base = torch.nn.Linear(2, 1, bias=False).to(torch.bfloat16).requires_grad_(False)
    base.weight.fill_(1.0)
    layer = LoraLinear(base, torch.tensor([[1.0, 0.0]]), adapters)
    with torch.no_grad():
        for lora_b in layer.lora_b:
            lora_b.fill_(2.0**-10)  # 1 + 2⁻¹⁰ is 1 in bfloat16
    inputs = torch.tensor([[1.0, -1.0]] * adapters).to(torch.bfloat16)
    assert layer(inputs).tolist() == [[2.0**-10]] * adapters
