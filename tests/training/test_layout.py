import pytest
import torch

from selma.training.loop import Checkpointing, train


def convolutions():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 3), torch.nn.Tanh(), torch.nn.Conv2d(8, 4, 3)
    return torch.nn.Sequential(*layers).to(memory_format=torch.channels_last)


def run(net, *, checkpointing=None, on_step=None):
    def loss_at(step):
        pictures = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        return net(pictures.contiguous(memory_format=torch.channels_last)).square().mean()

    return train(
        [dict(net.named_parameters())],
        lambda step: [lambda: loss_at(step)],
        train_steps=8,
        learning_rate_at=lambda step: 1e-2,
        average_decay=0.9,
        checkpointing=checkpointing,
        on_step=on_step,
    )


class KilledError(Exception):
    pass


def die_at_step_six(step, loss):
    if step == 6:
        raise KilledError


def test_a_killed_channels_last_training_resumes_to_the_same_bytes(tmp_path):
    whole, again = convolutions(), convolutions()
    uninterrupted = run(whole)
    keep = Checkpointing(tmp_path / "state.safetensors", 4)
    with pytest.raises(KilledError):
        run(convolutions(), checkpointing=keep, on_step=die_at_step_six)
    resumed = run(again, checkpointing=keep)
    assert resumed.losses == uninterrupted.losses
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        assert torch.equal(uninterrupted.final()[name], resumed.final()[name])


def test_a_resumed_state_lies_in_memory_as_its_weights_do(tmp_path):
    keep = Checkpointing(tmp_path / "state.safetensors", 8)
    run(convolutions(), checkpointing=keep)
    state = run(convolutions(), checkpointing=keep)
    for name, parameter in state.parameters.items():
        moments = state.optimiser.state[parameter]
        for tensor in (moments["exp_avg"], moments["exp_avg_sq"], state.average[name]):
            assert tensor.stride() == parameter.stride()
