import pytest
import torch

from selma.core.errors import RecordError
from selma.training.loop import Checkpointing, one_cycle, train, with_cooldown


def model(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def run(net, *, steps=20, checkpointing=None, on_step=None, **settings):
    def loss_at(step):
        generator = torch.Generator().manual_seed(step)
        inputs = torch.randn(16, 4, generator=generator)
        return (net(inputs) - inputs.sum(1, keepdim=True)).square().mean()

    return train(
        dict(net.named_parameters()),
        loss_at,
        train_steps=steps,
        learning_rate_at=lambda step: 1e-2,
        average_decay=0.9,
        checkpointing=checkpointing,
        on_step=on_step,
        **settings,
    )


class KilledError(Exception):
    pass


def die_at(last):
    def on_step(step, loss):
        if step == last:
            raise KilledError

    return on_step


@pytest.mark.parametrize("last", [3, 10, 19])
def test_a_killed_training_resumes_to_the_same_bytes(tmp_path, last):
    whole = model()
    uninterrupted = run(whole)
    keep = Checkpointing(tmp_path / "state.safetensors", 5)
    with pytest.raises(KilledError):
        run(model(), checkpointing=keep, on_step=die_at(last))
    again = model(seed=99)  # what the checkpoint holds must win over how the process started
    if last < 5:
        again = model()
    resumed = run(again, checkpointing=keep)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert resumed.losses == uninterrupted.losses
    for name, tensor in uninterrupted.average.items():
        assert torch.equal(tensor, resumed.average[name])


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    keep = Checkpointing(tmp_path / "state.safetensors", 5)
    run(model(), checkpointing=keep)
    with pytest.raises(RecordError, match=r"state\.safetensors"):
        run(torch.nn.Linear(4, 1), checkpointing=keep)


def test_a_checkpoint_cut_in_half_is_refused_in_one_line(tmp_path):
    keep = Checkpointing(tmp_path / "state.safetensors", 5)
    run(model(), checkpointing=keep)
    data = keep.path.read_bytes()
    keep.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordError, match="delete it"):
        run(model(), checkpointing=keep)


def test_clipping_really_bounds_the_gradient():
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
    seen = []
    net.weight.register_post_accumulate_grad_hook(lambda p: seen.append(p))
    state = train(
        dict(net.named_parameters()),
        lambda step: (net.weight * 1000).sum(),
        train_steps=1,
        learning_rate_at=lambda step: 0.0,
        max_gradient_norm=0.5,
    )
    moment = state.optimiser.state[net.weight]["exp_avg"]
    assert moment.item() == pytest.approx(0.1 * 0.5, rel=1e-4)  # (1 − β₁) · clipped gradient


def test_a_loss_that_is_not_finite_stops_the_training():
    net = torch.nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="step 0"):
        train(
            dict(net.named_parameters()),
            lambda step: net.weight.sum() * float("nan"),
            train_steps=2,
            learning_rate_at=lambda step: 1e-3,
        )


def test_one_cycle_rises_to_the_peak_and_falls_to_zero():
    rate = one_cycle(1.0, 100)
    rates = [rate(step) for step in range(100)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (4, 5)
    assert rates[-1] < 0.001


def test_a_cooldown_leaves_the_schedule_alone_until_its_last_steps():
    whole = one_cycle(1.0, 100)
    cut = with_cooldown(whole, 60, 20)
    assert [cut(step) for step in range(41)] == [whole(step) for step in range(41)]
    assert cut(50) == pytest.approx(0.5 * whole(50))
    assert cut(60) == 0
