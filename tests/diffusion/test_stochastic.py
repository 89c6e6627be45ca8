"""Stochastic DDIM: the steps are diffusers' with eta 1, the densities a normal distribution's."""

import copy
import math

import pytest
import torch
from diffusers import DDIMScheduler
from scipy.stats import norm

from selma.core.errors import ConfigError
from selma.diffusion.noising import Diffusion, Flow
from selma.diffusion.stochastic import Gaussian, StochasticTrajectory

LIKE_STABLE_DIFFUSION = {"prediction_type": "epsilon", "steps_offset": 1, "set_alpha_to_one": False}
FROM_NOISE = {
    "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "set_alpha_to_one": False,
    "timestep_spacing": "trailing",
}  # fmt: skip
TO_CLEAN = {**FROM_NOISE, "set_alpha_to_one": True}
SAMPLE = {**LIKE_STABLE_DIFFUSION, "prediction_type": "sample", "set_alpha_to_one": True}


class Model:
    """What a trajectory needs of a backbone."""

    device = "cpu"

    def __init__(self, **config):
        self.noise_scheduler = DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
            **config,
        )  # fmt: skip
        self.noising = Diffusion(self.noise_scheduler.alphas_cumprod, config["prediction_type"])


def drawn(seed):
    return torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("steps", [7, 12, 50])
@pytest.mark.parametrize("config", [LIKE_STABLE_DIFFUSION, FROM_NOISE, TO_CLEAN, SAMPLE])
def test_a_way_with_its_noise_recorded_is_that_of_diffusers_with_eta_1(config, steps):
    model = Model(**config)
    trajectory = StochasticTrajectory(model, steps)
    stock = copy.deepcopy(model.noise_scheduler)
    stock.set_timesteps(steps)
    assert trajectory.timesteps.tolist() == stock.timesteps.tolist()
    ours = theirs = drawn(0)
    for number, timestep in enumerate(stock.timesteps):
        prediction = 0.3 * torch.tanh(ours) + 0.1
        noise = drawn(number + 1)
        gaussian = trajectory.gaussian(prediction, ours, number)
        theirs = stock.step(prediction, timestep, theirs, eta=1.0, variance_noise=noise)[0]
        ours = gaussian.at(noise)
        if number == 0 and config in (FROM_NOISE, TO_CLEAN):  # diffusers: √ of a rounding error
            assert theirs.isnan().any() or float((ours - theirs).abs().max()) < 2e-3
            theirs = ours
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ours.isfinite().all()


def test_from_plain_noise_a_step_forgets_what_it_comes_from():
    """ᾱ = 0: the mean is √ᾱ' x₀ with x₀ = −v, the variance 1 − ᾱ'."""
    model = Model(**FROM_NOISE)
    trajectory = StochasticTrajectory(model, 10)
    velocity = drawn(5)
    one, other = (trajectory.gaussian(velocity, drawn(seed), 0) for seed in (1, 2))
    end = float(model.noise_scheduler.alphas_cumprod[999 - 100])
    torch.testing.assert_close(one.mean, -math.sqrt(end) * velocity, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(one.mean, other.mean, rtol=0, atol=1e-3)
    assert one.deviation == pytest.approx(math.sqrt(1 - end))


def test_the_last_step_is_an_action_only_where_it_ends_in_noise():
    assert StochasticTrajectory(Model(**FROM_NOISE), 5).actions == [0, 1, 2, 3, 4]
    clean = StochasticTrajectory(Model(**TO_CLEAN), 5)
    assert clean.actions == [0, 1, 2, 3]
    latents, velocity = drawn(1), drawn(2)
    last = clean.gaussian(velocity, latents, 4)
    assert last.deviation == 0
    assert torch.equal(last.at(drawn(3)), last.mean)


def test_log_densities_are_sums_of_the_normal_distributions():
    gaussian, latents = Gaussian(drawn(1), 0.37), drawn(2)
    found = gaussian.log_density(latents)
    assert found.dtype == torch.float64
    by_torch = torch.distributions.Normal(gaussian.mean.double(), 0.37).log_prob(latents.double())
    torch.testing.assert_close(found, by_torch.flatten(1).sum(1))
    by_scipy = norm.logpdf(latents.numpy(), gaussian.mean.numpy(), 0.37).reshape(2, -1).sum(1)
    assert found.tolist() == pytest.approx(by_scipy.tolist(), rel=1e-5)


def test_what_has_no_such_density_is_refused_in_a_line():
    blind = Model(**{**FROM_NOISE, "prediction_type": "epsilon"})
    with pytest.raises(ConfigError, match="plain noise"):
        StochasticTrajectory(blind, 4)
    flow = Model(**FROM_NOISE)
    flow.noising = Flow(1000, 1.0)
    with pytest.raises(ConfigError, match="is a flow; stochastic DDIM"):
        StochasticTrajectory(flow, 4)
