"""The step whose adapter is kept is chosen on prompts that were held out, by a fixed measure."""

import pytest
import torch

from selma.core.errors import ConfigError
from selma.training.loop import Selection, train
from selma.training.steps import denoising_losses, draw_step, split
from selma.training.trainer import DEV_DRAWS, train_experts

SETTINGS = {
    "seed": 3, "rank": 2, "targets": None, "learning_rate": 0.02, "weight_decay": 0.0,
    "train_steps": 7, "batch_size": 4, "micro_batch_size": 256, "max_gradient_norm": 1.0,
    "min_snr_gamma": None, "average_decay": None, "flip": False,
}  # fmt: skip


def wander(values, **settings):
    """Train one weight, whose measure after step k is values[k − 1]."""
    weight = torch.nn.Parameter(torch.zeros(1))
    waiting, seen = iter(values), []

    def measure():
        seen.append(weight.item())
        return [next(waiting)]

    state = train(
        [{"w": weight}], lambda step: [lambda: weight.sum()], train_steps=len(values),
        learning_rate_at=lambda step: 0.1, weight_decay=0.0, selection=Selection(1, measure),
        **settings,
    )  # fmt: skip
    return state, seen, weight


def test_the_weights_of_the_least_measure_are_handed_out_the_first_of_equals():
    state, seen, weight = wander([3.0, 1.0, 2.0, 1.0])
    assert state.best_step() == 2
    assert state.final()["w"].item() == seen[1]
    assert weight.item() == seen[3]  # and the training goes on from the last
    assert state.measured == [(1, [3.0]), (2, [1.0]), (3, [2.0]), (4, [1.0])]


def test_where_an_average_is_handed_out_it_is_the_average_that_is_measured():
    state, seen, weight = wander([2.0, 1.0, 3.0], average_decay=0.9)
    assert state.final()["w"].item() == seen[1]
    assert seen[2] == state.average["0/w"].item() != weight.item()


def test_the_dev_loss_is_that_of_held_out_pictures_under_the_same_noise(make_backbone, examples):
    select = {"dev": 0.5, "every_steps": 3}
    backbone = make_backbone()
    expert = train_experts(backbone, {"count": examples}, select=select, **SETTINGS)["count"]
    assert list(expert.dev_losses) == [3, 6, 7]
    trained_on, dev = split(examples, 0.5, 3, "count")
    assert len(trained_on) + len(dev) == 7
    assert not {*trained_on.condition_index.tolist()} & {*dev.condition_index.tolist()}
    draws = draw_step(
        seed=3, name="dev/count", step=0, batch_size=DEV_DRAWS, number=len(dev),
        latent_shape=(4, 4, 4), flip=False,
    )  # fmt: skip
    with torch.no_grad():  # the backbone holds the last step's adapter
        losses = denoising_losses(backbone, [(dev, draws)])
    assert expert.dev_losses[7] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert expert.step == min(expert.dev_losses, key=expert.dev_losses.get)


def test_the_chosen_adapter_is_that_of_a_training_which_ends_there(make_backbone, examples):
    """The learning rate is so high that with some seed, whichever, it gets worse again."""

    def run(**changes):
        settings = {**SETTINGS, "learning_rate": 0.3, **changes}
        settings["select"] = {"dev": 0.5, "every_steps": 1}
        return train_experts(make_backbone(), {"count": examples}, **settings)["count"]

    tried = ((seed, run(seed=seed)) for seed in range(30))
    seed, best = next(one for one in tried if one[1].step < SETTINGS["train_steps"])
    ended = run(seed=seed, train_steps=best.step)
    assert all(torch.equal(best.tensors[name], t) for name, t in ended.tensors.items())


@pytest.mark.parametrize(("share", "held"), [(0.1, 0), (0.9, 2)])
def test_a_split_with_an_empty_side_is_refused(examples, share, held):
    with pytest.raises(ConfigError, match=rf"{share} of the 2 prompts of count are {held}; both"):
        split(examples, share, 3, "count")
