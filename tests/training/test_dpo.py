"""Diffusion-DPO: its loss, its pairs, its reference and what is watched."""

import copy
import math

import pytest
import torch

from selma.training.experts import train_on_pairs
from selma.training.loop import Checkpointing
from selma.training.objective import preference_losses
from selma.training.pairs import Pairs
from selma.training.steps import PairSteps, draw_step
from selma.training.trainer import train_experts

BETA = 500.0
SETTINGS = {
    "seed": 3, "rank": 2, "targets": None, "learning_rate": 1e-2, "weight_decay": 0.01,
    "train_steps": 6, "batch_size": 3, "micro_batch_size": 4, "max_gradient_norm": 1.0,
    "min_snr_gamma": None, "average_decay": None, "flip": False, "select": None,
}  # fmt: skip


def dpo(**changes):
    settings = {"beta": BETA, "stop": None, **changes}
    return lambda *given: PairSteps(*given, **settings)


@pytest.fixture
def pairs(examples):
    """Three pairs of the seven pictures; the fixture's prompts alternate."""
    return Pairs(examples, winners=[0, 1, 4], losers=[2, 3, 6])


@pytest.fixture
def run(make_backbone, pairs):
    def run(*, name="count", sets=None, objective=None, backbone=None, **changes):
        settings = {**SETTINGS, "steps_of": objective or dpo(), **changes}
        sets = sets or {name: pairs}
        return train_experts(backbone or make_backbone(), sets, **settings)[name]

    return run


def test_the_loss_is_equation_14_written_out():
    winners, losers = [0.30, 0.50], [0.40, 0.20]
    reference_winners, reference_losers = [0.35, 0.45], [0.38, 0.25]
    errors = torch.tensor([winners, losers], dtype=torch.float64)
    reference = torch.tensor([reference_winners, reference_losers], dtype=torch.float64)
    losses, accurate = preference_losses(errors, reference, BETA)
    for place in range(2):
        inside = (winners[place] - reference_winners[place]) - (
            losers[place] - reference_losers[place]
        )
        expected = -math.log(1 / (1 + math.exp(BETA / 2 * inside)))
        assert losses[place].item() == pytest.approx(expected)
    assert accurate.tolist() == [1.0, 0.0]


def test_a_loss_far_from_the_reference_does_not_overflow():
    errors = torch.tensor([[2.0], [0.0]])
    losses, _ = preference_losses(errors, torch.zeros(2, 1), 1e6)
    assert losses.item() == pytest.approx(1e6)


@pytest.mark.parametrize("beta", [1e-12, BETA])
def test_without_beta_or_without_a_difference_the_loss_is_log_2(beta):
    errors = torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    other = errors if beta == BETA else torch.zeros(2, 5)
    losses, accurate = preference_losses(errors, other, beta)
    torch.testing.assert_close(losses, torch.full((5,), math.log(2)))
    if beta == BETA:
        assert accurate.tolist() == [0.5] * 5


def test_the_gradient_pulls_winners_and_pushes_losers_by_beta_half_sigmoid():
    errors = torch.tensor([[0.5], [0.4]], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([[0.45], [0.41]], dtype=torch.float64)
    losses, _ = preference_losses(errors, reference, 10.0)
    (gradient,) = torch.autograd.grad(losses.sum(), errors)
    slope = 5.0 / (1 + math.exp(-5.0 * (0.05 + 0.01)))  # β/2 · σ(β/2 · margin)
    torch.testing.assert_close(gradient, torch.tensor([[slope], [-slope]], dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda e: preference_losses(e, reference, 10.0)[0], errors)


def error_of(unet, backbone, examples, item, draws, place):
    """One picture's mean squared error, from the formulas of the noise schedule."""
    means, deviations = examples.moments([item], [bool(draws.flipped[place])])
    latents = means + deviations * draws.posterior_noise[place]
    timestep = int(draws.levels[place] * 1000)
    alpha = backbone.noising.alphas_bar[timestep]
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * draws.noise[place]
    target = alpha.sqrt() * draws.noise[place] - (1 - alpha).sqrt() * latents
    text = examples.conditions["text"][examples.condition_index[item]][None]
    said = unet(noisy, torch.tensor([timestep]), encoder_hidden_states=text).sample
    return (said - target).square().mean()


def test_a_step_is_that_of_a_pair_by_pair_computation_with_a_second_u_net(run, backbone, pairs):
    """Oracle: a copy of the U-Net before training as the reference, one picture at a time."""
    reference = copy.deepcopy(backbone.denoiser)
    expert = run(backbone=backbone, train_steps=3)
    draws = draw_step(
        seed=3, name="count", step=3, batch_size=3, number=3, latent_shape=(4, 4, 4), flip=False
    )
    steps = dpo()(backbone, 3, 4, False, None)
    with torch.no_grad():
        parts = steps.parts({"count": pairs}, 3, 3)
        got = torch.stack([part() for part in parts]).sum(0)[:, 0]
        expected = []
        for place, item in enumerate(draws.items.tolist()):
            sides = [pairs.winners[item], pairs.losers[item]]
            now = [
                error_of(backbone.denoiser, backbone, pairs.pictures, one, draws, place)
                for one in sides
            ]
            then = [
                error_of(reference, backbone, pairs.pictures, one, draws, place) for one in sides
            ]
            margin = (now[0] - now[1]) - (then[0] - then[1])
            expected.append(
                [-torch.nn.functional.logsigmoid(-BETA / 2 * margin), float(margin < 0),
                 now[0], then[0]]
            )  # fmt: skip
    assert len(parts) == 2  # of 2 pairs and of 1, for 4 pictures at once
    torch.testing.assert_close(got, torch.tensor(expected).mean(0), rtol=1e-4, atol=1e-5)
    assert len(expert.losses) == 3


def test_the_first_step_knows_no_preference(run):
    expert = run()
    assert expert.losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert expert.watched["implicit_accuracy"][0] == 0.5
    assert expert.watched["winner_loss"][0] == expert.watched["winner_reference"][0]
    assert list(expert.watched) == ["implicit_accuracy", "winner_loss", "winner_reference"]


def test_identical_pictures_teach_nothing(run, examples):
    same = Pairs(examples, winners=[0, 1], losers=[0, 1])
    expert, other = run(sets={"count": same}), run()
    assert list(expert.losses) == pytest.approx([math.log(2)] * 6, abs=1e-4)  # rounding is all
    assert max(expert.norms) < 1e-3 * min(other.norms)


def test_training_prefers_the_winners(run):
    expert = run(train_steps=40, learning_rate=3e-3)
    assert expert.losses[-1] < 0.5 * math.log(2)
    assert sum(expert.watched["implicit_accuracy"][-10:]) / 10 > 0.75


def test_the_adapter_is_on_again_after_the_reference(run, backbone):
    run(backbone=backbone)
    assert all(getattr(module, "enabled", True) for module in backbone.denoiser.modules())


def test_pairs_and_experts_side_by_side_are_as_each_alone(run, pairs, examples):
    other = Pairs(examples, winners=[5, 2], losers=[3, 0])
    settings = {"learning_rate": 1e-3, "micro_batch_size": 8}
    both = {"count": pairs, "common": other}
    for name, own in both.items():
        alone = run(name=name, sets={name: own}, **settings)
        stacked = run(name=name, sets=both, **settings)
        assert list(stacked.losses) == pytest.approx(list(alone.losses), rel=1e-3)
        assert stacked.watched["winner_loss"] == pytest.approx(
            alone.watched["winner_loss"], rel=1e-4
        )
        for key, tensor in alone.tensors.items():
            torch.testing.assert_close(stacked.tensors[key], tensor, rtol=0, atol=1e-3)


class KilledError(Exception):
    pass


def test_a_killed_training_on_pairs_resumes_to_the_same_bytes(run, tmp_path):
    def die(step, loss):
        if step == 4:
            raise KilledError

    keep = Checkpointing(tmp_path / "state.safetensors", 3)
    whole = run()
    with pytest.raises(KilledError):
        run(checkpointing=keep, on_step=die)
    resumed = run(checkpointing=keep)
    assert resumed.losses == whole.losses
    assert resumed.watched == whole.watched
    assert all(torch.equal(resumed.tensors[name], t) for name, t in whole.tensors.items())


def test_a_training_whose_error_on_winners_grows_is_stopped_there_also_after_a_resume(
    run, tmp_path, caplog
):
    """The limit is put where a training that nothing stops first gets half-way through its run."""
    settings = {"train_steps": 12, "learning_rate": 0.05}
    free = run(**settings)

    def share(end):
        seen = (free.watched[name] for name in ("winner_loss", "winner_reference"))
        model, reference = (sum(values[end - 3 : end]) for values in seen)
        return model / reference

    shares = {end: share(end) for end in range(3, 12)}
    limit = sorted(shares.values())[4]
    expected = next(end for end, found in shares.items() if found > limit)
    stop = {"winner_growth": limit - 1, "steps": 3}
    stopped = run(objective=dpo(stop=stop), **settings)
    assert stopped.step == expected
    assert f"stopped after step {expected} of 12: the error grows" in caplog.text
    assert stopped.losses == free.losses[:expected]
    keep = Checkpointing(tmp_path / "state.safetensors", 1)
    for _ in range(2):
        again = run(objective=dpo(stop=stop), checkpointing=keep, **settings)
        assert again.step == expected
        assert all(torch.equal(again.tensors[name], t) for name, t in stopped.tensors.items())


def test_a_dev_split_of_pairs_measures_the_loss_of_comparisons(run):
    expert = run(select={"dev": 0.5, "every_steps": 2}, learning_rate=1e-12)
    assert list(expert.dev_losses.values()) == pytest.approx([math.log(2)] * 3, abs=1e-4)


def test_only_the_pictures_of_pairs_are_encoded(backbone, make_row, tmp_path):
    rows = []
    for number in range(3):
        for sample in range(3):
            row = make_row("count", 3 * number + sample)
            rating = float(sample) if number else 1.0  # the first prompt's are all alike
            rows.append({**row, "prompt_id": f"p{number}", "sample": sample, "rating": rating})
    settings = {**SETTINGS, "train_steps": 1}
    del settings["flip"], settings["select"]
    expert, counts = train_on_pairs(
        "count", lambda: rows, backbone, tmp_path, min_gap=0.5, beta=BETA, stop=None, flip=False,
        select=None, checkpoint_every_steps=1, **settings,
    )  # fmt: skip
    assert counts == {"prompts": 3, "pairs": 2, "too_close": 1}
    assert expert.losses[0] == pytest.approx(math.log(2), abs=1e-6)
    from safetensors.torch import load_file

    moments = load_file(tmp_path / "count/moments-000000.safetensors")
    assert len(moments["mean"]) == 4
