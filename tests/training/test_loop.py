import resource

import pytest
import torch

from selma.core.errors import RecordError, SelmaError
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
        [dict(net.named_parameters())],
        lambda step: [lambda: loss_at(step)],
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
    assert resumed.norms == uninterrupted.norms
    for name, tensor in uninterrupted.final().items():  # the average
        assert torch.equal(tensor, resumed.final()[name])


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
    with pytest.raises(RecordError, match="SELMA_FRESH=1 starts the training anew"):
        run(model(), checkpointing=keep)


def test_clipping_really_bounds_the_gradient():
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(1.0)
    seen = []
    net.weight.register_post_accumulate_grad_hook(lambda p: seen.append(p))
    state = train(
        [dict(net.named_parameters())],
        lambda step: [lambda: (net.weight * 1000).sum()],
        train_steps=1,
        learning_rate_at=lambda step: 0.0,
        max_gradient_norm=0.5,
    )
    moment = state.optimiser.state[net.weight]["exp_avg"]
    assert moment.item() == pytest.approx(0.1 * 0.5, rel=1e-4)  # (1 − β₁) · clipped gradient


class Poison(torch.autograd.Function):
    """Passes its input on unchanged; its gradient is not finite."""

    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def poisoned_run(net, poisoned_step, *, steps=20, checkpointing=None, rate=1e-2, **settings):
    """Train so that one step's gradient is not finite while its loss is."""

    def loss_at(step):
        inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        outputs = net(inputs)
        outputs = Poison.apply(outputs) if step == poisoned_step else outputs
        return (outputs - inputs.sum(1, keepdim=True)).square().mean()

    return train(
        [dict(net.named_parameters())],
        lambda step: [lambda: loss_at(step)],
        train_steps=steps,
        learning_rate_at=lambda step: rate,
        checkpointing=checkpointing,
        **settings,
    )


@pytest.mark.parametrize("step", [0, 9, 19])  # the first, one that a checkpoint follows, the last
def test_a_gradient_that_is_not_finite_stops_the_training_before_its_step(tmp_path, step):
    keep = Checkpointing(tmp_path / "state.safetensors", 5)
    net, good, steps = model(), model(), []
    with pytest.raises(SelmaError) as caught:
        poisoned_run(net, step, checkpointing=keep, on_step=lambda done, _: steps.append(done))
    assert type(caught.value) is SelmaError
    assert str(caught.value) == (
        f"training step {step}: the norm of the gradient is nan; lower learning_rate (here 0.01) "
        "or, if it is another, set dtype to float32; the last good checkpoint is kept"
    )
    assert steps == list(range(1, step + 1))
    poisoned_run(good, None, steps=step)
    for name, tensor in good.state_dict().items():  # the step was not applied
        assert torch.equal(tensor, net.state_dict()[name])


def test_after_a_failed_training_the_checkpoint_is_the_last_good_one_and_a_resume_works(tmp_path):
    keep = Checkpointing(tmp_path / "state.safetensors", 5)
    with pytest.raises(SelmaError, match="step 14"):
        poisoned_run(model(), 14, checkpointing=keep)
    resumed, whole = model(seed=99), model()
    state = poisoned_run(resumed, None, checkpointing=keep)  # mended: the step is harmless now
    poisoned_run(whole, None)
    assert len(state.losses) == 20
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])


def test_a_far_too_high_learning_rate_is_one_line_and_a_lower_one_mends_it(tmp_path):
    keep = Checkpointing(tmp_path / "state.safetensors", 5)
    poisoned_run(model(), None, steps=10, checkpointing=keep)
    before = keep.path.read_bytes()
    with pytest.raises(SelmaError, match=r"step 1[01]: the .* is .*learning_rate \(here 1e\+30\)"):
        poisoned_run(model(), None, checkpointing=keep, rate=1e30)
    assert keep.path.read_bytes() == before
    state = poisoned_run(model(), None, checkpointing=keep, rate=1e-3)
    assert all(parameter.isfinite().all() for parameter in state.parameters.values())
    assert state.curve()[-1] < state.curve()[0]


@pytest.mark.parametrize(("steps", "every"), [(1, 5), (5, 1)])
def test_weights_that_are_not_finite_are_neither_returned_nor_kept(tmp_path, steps, every):
    keep = Checkpointing(tmp_path / "state.safetensors", every)
    with pytest.raises(SelmaError, match="step 0: the weights after it are not finite"):
        poisoned_run(model(), None, steps=steps, checkpointing=keep, rate=1e39)
    assert not keep.path.exists()


def test_a_loss_that_is_not_finite_stops_the_training():
    net = torch.nn.Linear(1, 1)
    with pytest.raises(SelmaError, match=r"training step 1: the loss is -inf; "):
        train(
            [dict(net.named_parameters())],
            lambda step: [lambda: net.weight.sum() * (float("inf") if step == 1 else 1.0)],
            train_steps=2,
            learning_rate_at=lambda step: 1e-3,
        )


def test_a_checkpoint_that_does_not_fit_the_disk_leaves_the_old_one(tmp_path):
    keep = Checkpointing(tmp_path / "state.safetensors", 5)
    run(model(), steps=5, checkpointing=keep)
    before = keep.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"state\.safetensors: the checkpoint cannot be written .*too large"
        ):
            run(model(), checkpointing=keep)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert keep.path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [keep.path]


def test_one_cycle_rises_to_the_peak_and_falls_to_zero():
    warming = [one_cycle(2.0, 100)(step) for step in range(5)]
    assert warming == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
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


def test_the_moving_average_warms_up():
    weight, seen = torch.nn.Parameter(torch.zeros(1)), []
    state = train(
        [{"w": weight}], lambda step: [lambda: weight.sum()], train_steps=4,
        learning_rate_at=lambda step: 0.1, weight_decay=0.0, average_decay=0.2,
        on_state=lambda state: seen.append(weight.item()),
    )  # fmt: skip
    average = 0.0
    for step, value in enumerate(seen):
        decay = min(0.2, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * value
    assert state.final()["w"].item() == pytest.approx(average)
