"""DDPO: ratios, advantages, rounds; what is rewarded becomes more likely."""

import numpy as np
import pytest
import torch

from selma.core.errors import ConfigError, SelmaError
from selma.diffusion.sampling import guided_prediction
from selma.diffusion.stochastic import StochasticTrajectory
from selma.training.adapters import add_adapters
from selma.training.ddpo import Rounds, advantages, clipped_loss, train_by_reward
from selma.training.policy import Policy

PROMPTS = {"p0": "a", "p1": "b c", "p2": "d"}
SETTINGS = {
    "seed": 3, "rank": 2, "targets": None, "per_prompt": 4, "updates_per_round": 2,
    "clip_range": 1e-3, "advantage_max": 5.0, "guidance_scale": 2.0, "inference_steps": 3,
    "batch_size": 4, "micro_batch_size": 3, "learning_rate": 1e-2, "weight_decay": 0.0,
    "train_steps": 6, "max_gradient_norm": 1.0, "average_decay": None,
}  # fmt: skip


def redness(prompts, pictures):
    return np.array([picture[..., 0].mean() / 255 for picture in pictures])


@pytest.fixture
def run(make_backbone, tmp_path):
    def run(*, reward=redness, backbone=None, directory=None, **changes):
        settings = {**SETTINGS, **changes}
        (directory or tmp_path).mkdir(exist_ok=True)
        return train_by_reward(
            "count", PROMPTS, backbone or make_backbone(), reward, directory or tmp_path, **settings
        )

    return run


@pytest.fixture
def rounds(backbone):
    """Rounds of a model with a new adapter."""
    found = add_adapters(backbone.denoiser, ["count"], targets=backbone.targets, rank=2, seed=0)
    policy = Policy(backbone, StochasticTrajectory(backbone, 3), 2.0, redness)
    return Rounds(policy, PROMPTS, "count", 3, 4, 2, 4, 3, 1e-3, 5.0), found["count"]


def test_advantages_are_standardised_within_a_prompt_by_hand():
    rewards = torch.tensor([1.0, 3.0, 5.0, 5.0, 2.0, 2.0], dtype=torch.float64)
    assert advantages(rewards, 2, 5.0).tolist() == [-1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    four = advantages(torch.tensor([0.0, 0.0, 0.0, 4.0], dtype=torch.float64), 4, 1.5)
    assert four.tolist() == pytest.approx([-1 / 3**0.5] * 3 + [1.5])  # √3, cut


def test_a_prompt_that_nobody_can_rate_teaches_nothing():
    rewards = torch.tensor([float("nan"), 1.0, 0.0, 2.0], dtype=torch.float64)
    assert advantages(rewards, 2, 5.0).tolist() == [0.0, 0.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("moved", "advantage", "loss", "slope"),
    [
        (0.0, 2.0, -2.0, -2.0),  # ratio 1: the policy gradient itself, −A
        (0.5, 2.0, -2 * 1.2, 0.0),  # gone far enough
        (-0.5, 2.0, -2 * np.exp(-0.5), -2 * np.exp(-0.5)),  # the wrong way: come back
        (-0.5, -2.0, 2 * 0.8, 0.0),
        (0.5, -2.0, 2 * np.exp(0.5), 2 * np.exp(0.5)),
    ],
)
def test_the_clipped_loss_and_its_slope_by_hand(moved, advantage, loss, slope):
    ratio = torch.tensor([moved], dtype=torch.float64, requires_grad=True)
    losses, clipped = clipped_loss(ratio, torch.tensor([advantage], dtype=torch.float64), 0.2)
    (gradient,) = torch.autograd.grad(losses.sum(), ratio)
    assert losses.item() == pytest.approx(loss)
    assert gradient.item() == pytest.approx(slope)
    assert clipped.item() == float(moved != 0.0)


def test_in_the_first_update_the_ratio_is_1_and_the_loss_the_negative_mean_advantage(rounds):
    made, _ = rounds
    parts = [part().detach() for part in made.parts(0)]
    own, actions = made._round[:2], made.policy.trajectory.actions
    assert actions == [0, 1]  # the third step ends in clean latents
    assert [len(shard[0]) for shard in made._round] == [3, 1, 3, 1]
    assert len(parts) == 2 * len(actions)
    loss, reward, clipped = torch.stack(parts).sum(0)[:, 0].tolist()
    assert loss == pytest.approx(-float(torch.cat([s[2] for s in own]).mean()), abs=1e-6)
    assert reward == pytest.approx(float(torch.cat([s[1].rewards for s in own]).mean()), abs=1e-6)
    assert clipped == 0.0
    for requests, drawn, advantage in own:
        predict = made.policy.told(requests)
        for action in actions:
            gaussian = made.policy.step(predict, drawn.latents[action], action)
            again = gaussian.log_density(drawn.latents[action + 1]).detach()
            torch.testing.assert_close(again, drawn.log_densities[action], rtol=0, atol=1e-3)
            assert len(advantage) == len(requests)


def test_the_gradient_is_the_policy_gradient_of_the_normal_distribution(rounds, backbone):
    """∇ −Σ A log N(x' | μ, σ) / (count · values), by torch's own distribution."""
    made, group = rounds
    parts = made.parts(0)
    for part in parts:
        part()[0].sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in group.items()}
    for parameter in group.values():
        parameter.grad = None
    total = 0.0
    for requests, drawn, advantage in made._round[:2]:
        predict = guided_prediction(
            backbone, backbone.encode_prompts([one.prompt for one in requests]), 2.0
        )
        trajectory = made.policy.trajectory
        for number in trajectory.actions:
            said = predict(trajectory, trajectory.timesteps[number], drawn.latents[number])
            gaussian = trajectory.gaussian(said, drawn.latents[number], number)
            normal = torch.distributions.Normal(gaussian.mean, gaussian.deviation)
            density = normal.log_prob(drawn.latents[number + 1]).flatten(1).mean(1)
            total = total - (advantage * density).sum() / (4 * len(trajectory.actions))
    total.backward()
    largest = max(float(parameter.grad.abs().max()) for parameter in group.values())
    assert largest > 0
    for name, parameter in group.items():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-3 * largest)


def test_a_picture_depends_on_its_seed_and_on_no_neighbour(rounds):
    made, _ = rounds
    requests = made.requests(0)
    together = made.policy.draw(requests[:3])
    alone = made.policy.draw(requests[1:2])
    torch.testing.assert_close(together.latents[:, 1:2], alone.latents, rtol=1e-4, atol=1e-4)
    assert not torch.equal(together.latents[:, 0], together.latents[:, 1])


def test_every_prompt_has_its_turn_and_each_round_new_seeds(rounds):
    made, _ = rounds
    asked = [request for number in range(3) for request in made.requests(number)]
    assert [one.item_id for one in asked[:8]] == [asked[0].item_id] * 4 + [asked[4].item_id] * 4
    counts = {item: sum(one.item_id == item for one in asked) for item in PROMPTS}
    assert counts == {"p0": 8, "p1": 8, "p2": 8}
    assert len({one.seed for one in asked}) == len(asked)


def test_what_is_drawn_together_survives_the_way_between_processes(rounds):
    made, _ = rounds
    requests = made.requests(0)
    three, one = made.policy.draw(requests[:3]), made.policy.draw(requests[3:4])
    back = three.read(one.flat(3), 1)
    for name in ("latents", "log_densities", "rewards"):
        assert torch.equal(getattr(back, name), getattr(one, name))


def test_a_step_makes_what_was_rewarded_more_likely(rounds):
    made, group = rounds
    made.clip_range = 0.9

    def look():
        parts = made.parts(0)
        return parts, [float(part()[0].detach()) for part in parts]

    parts, before = look()
    for part in parts:
        part()[0].sum().backward()
    length = sum(float(p.grad.square().sum()) for p in group.values()) ** 0.5
    with torch.no_grad():
        for parameter in group.values():
            parameter -= 0.003 / length * parameter.grad
    expected = -0.003 * length  # of a step of this length down the gradient
    assert sum(look()[1]) - sum(before) == pytest.approx(expected, rel=0.2)


def test_the_curve_shows_rewards_and_that_no_first_update_is_clipped(run):
    expert = run()
    assert list(expert.watched) == ["reward", "clipped"]
    assert all(0 < reward < 1 for reward in expert.watched["reward"])
    assert expert.watched["clipped"][::2] == [0.0] * 3


def test_equal_rewards_change_nothing(run):
    expert = run(reward=lambda prompts, pictures: np.ones(len(pictures)), train_steps=2)
    assert all(bool(tensor.any()) == ("lora_A" in name) for name, tensor in expert.tensors.items())


class KilledError(Exception):
    pass


@pytest.mark.parametrize("last", [3, 4])
def test_a_killed_training_resumes_at_a_round_to_the_same_bytes(run, tmp_path, last):
    def die(step, loss):
        if step == last:
            raise KilledError

    whole = run(directory=tmp_path / "whole")
    with pytest.raises(KilledError):
        run(directory=tmp_path / "killed", on_step=die)
    resumed = run(directory=tmp_path / "killed")
    assert resumed.losses == whole.losses
    assert resumed.watched == whole.watched
    assert all(torch.equal(resumed.tensors[name], t) for name, t in whole.tensors.items())


def test_what_cannot_be_is_one_line(run):
    with pytest.raises(
        ConfigError, match=r"2 × 4 pictures, expected a multiple of per_prompt \(3\)"
    ):
        run(per_prompt=3)
    with pytest.raises(SelmaError, match="round 0: the rewards are not finite"):
        run(reward=lambda prompts, pictures: np.full(len(pictures), np.nan))
