import pytest
import torch

from selma.diffusion.noising import TARGETS, Diffusion, Flow


@pytest.fixture
def make_noise_scheduler():
    from diffusers import DDIMScheduler

    def make(prediction_type="v_prediction"):
        return DDIMScheduler(
            beta_schedule="scaled_linear", prediction_type=prediction_type,
            rescale_betas_zero_snr=True, steps_offset=1, clip_sample=False,
        )  # fmt: skip

    return make


@pytest.fixture
def batch():
    """Latents, noise, and timesteps with both ends of the schedule."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(4, 4, 2, 2, generator=generator)
    noise = torch.randn(4, 4, 2, 2, generator=generator)
    return latents, noise, torch.tensor([0, 10, 500, 999])


@pytest.fixture
def noising(make_noise_scheduler):
    def make(prediction_type="v_prediction"):
        return Diffusion(make_noise_scheduler().alphas_cumprod, prediction_type)

    return make


def test_noise_is_added_as_diffusers_adds_it(batch, noising, make_noise_scheduler):
    expected = make_noise_scheduler().add_noise(*batch)
    torch.testing.assert_close(noising().add(*batch), expected)


def test_the_velocity_is_that_of_diffusers(batch, noising, make_noise_scheduler):
    expected = make_noise_scheduler().get_velocity(*batch)
    torch.testing.assert_close(noising().target(*batch), expected)


@pytest.mark.parametrize("prediction_type", sorted(TARGETS))
def test_from_the_target_of_each_type_diffusers_recovers_the_clean_latents(
    batch, noising, make_noise_scheduler, prediction_type
):
    latents, _, timesteps = batch
    scheduler = make_noise_scheduler(prediction_type)
    scheduler.set_timesteps(1000)
    target = noising(prediction_type).target(*batch)
    noisy = noising().add(*batch)
    for item in (0, 1, 2):  # at zero SNR the noise says nothing about the latents
        step = scheduler.step(target[item], timesteps[item], noisy[item])
        torch.testing.assert_close(step.pred_original_sample, latents[item], rtol=1e-4, atol=1e-4)


def test_a_flow_is_that_of_diffusers(batch):
    from diffusers import FlowMatchEulerDiscreteScheduler

    latents, noise, _ = batch
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    timesteps = scheduler.timesteps[[5, 300, 700, 990]]
    flow = Flow(1000, 3.0)
    noisy = flow.add(latents, noise, timesteps)
    torch.testing.assert_close(noisy, scheduler.scale_noise(latents, timesteps, noise))
    level = (timesteps / 1000).view(-1, 1, 1, 1)
    torch.testing.assert_close(noisy - level * flow.target(latents, noise, timesteps), latents)


def test_a_flows_noise_levels_are_shifted_logit_normal():
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    level = Flow(1000, 3.0).timesteps(uniform).double() / 1000
    unshifted = level / (3 - 2 * level)
    normal = torch.logit(unshifted)
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 1) < 0.01


def test_the_signal_to_noise_ratio_is_that_of_the_mixture(noising):
    ones = torch.ones(4, 4, 2, 2)
    timesteps = torch.tensor([10, 300, 500, 900])
    for process in (noising(), Flow(1000, 3.0)):
        shares = [
            process.add(one, other, timesteps).square().mean((1, 2, 3))
            for one, other in ((ones, 0 * ones), (0 * ones, ones))
        ]
        torch.testing.assert_close(process.signal_to_noise(timesteps), shares[0] / shares[1])
