import pytest
import torch

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.training.objective import TARGETS, add_noise, squared_error, stratified_timesteps


@pytest.fixture
def batch(make_noise_scheduler):
    """Latents, noise, timesteps with both ends of the schedule, and ᾱ at the timesteps."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(4, 4, 2, 2, generator=generator)
    noise = torch.randn(4, 4, 2, 2, generator=generator)
    timesteps = torch.tensor([0, 10, 500, 999])
    alpha_bar = make_noise_scheduler().alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return latents, noise, timesteps, alpha_bar


def test_noise_is_added_as_diffusers_adds_it(batch, make_noise_scheduler):
    latents, noise, timesteps, alpha_bar = batch
    expected = make_noise_scheduler().add_noise(latents, noise, timesteps)
    torch.testing.assert_close(add_noise(latents, noise, alpha_bar), expected)


def test_the_velocity_is_that_of_diffusers(batch, make_noise_scheduler):
    latents, noise, timesteps, alpha_bar = batch
    expected = make_noise_scheduler().get_velocity(latents, noise, timesteps)
    torch.testing.assert_close(TARGETS["v_prediction"](latents, noise, alpha_bar), expected)


@pytest.mark.parametrize("prediction_type", sorted(TARGETS))
def test_from_the_target_of_each_type_diffusers_recovers_the_clean_latents(
    batch, make_noise_scheduler, prediction_type
):
    latents, noise, timesteps, alpha_bar = batch
    scheduler = make_noise_scheduler(prediction_type)
    scheduler.set_timesteps(1000)
    target = TARGETS[prediction_type](latents, noise, alpha_bar)
    noisy = add_noise(latents, noise, alpha_bar)
    for item in (0, 1, 2):  # at zero SNR the noise says nothing about the latents
        step = scheduler.step(target[item], timesteps[item], noisy[item])
        torch.testing.assert_close(step.pred_original_sample, latents[item], rtol=1e-4, atol=1e-4)


def test_an_unknown_prediction_type_is_refused_with_the_list():
    with pytest.raises(ConfigError, match="flow.*epsilon, sample, v_prediction"):
        choose("prediction type of the noise scheduler", "flow", TARGETS)


def test_each_item_of_a_batch_has_its_own_stratum_of_the_timesteps():
    lowest = stratified_timesteps(torch.zeros(4), 1000)
    highest = stratified_timesteps(torch.full((4,), 0.999999, dtype=torch.float64), 1000)
    assert lowest.tolist() == [0, 250, 500, 750]
    assert highest.tolist() == [249, 499, 749, 999]


def test_stratified_timesteps_are_uniform_over_all_batches():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat(
        [stratified_timesteps(torch.rand(3, generator=generator), 10) for _ in range(4000)]
    )
    shares = torch.bincount(drawn, minlength=10) / len(drawn)
    torch.testing.assert_close(shares, torch.full((10,), 0.1), rtol=0, atol=0.01)


def test_the_loss_of_a_half_precision_prediction_is_float32():
    loss = squared_error(torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor([3.0]))
    assert loss.dtype == torch.float32
    assert loss.item() == 4
