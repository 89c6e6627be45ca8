import pytest
import torch

from selma.diffusion.noising import TARGETS, Diffusion, Flow
from selma.training.objective import min_snr_weights, squared_errors, stratified


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


@pytest.mark.parametrize("kind", [*sorted(TARGETS), "flow"])
def test_min_snr_weights_are_the_capped_error_of_the_clean_latents(batch, noising, kind):
    """An error of the target moves x₀, whose squared error min-SNR weighs by min(SNR, γ)."""
    latents, noise, _ = batch
    process = Flow(1000, 1.0) if kind == "flow" else noising(kind)
    timesteps = torch.tensor([50, 300, 500, 900])
    noisy = process.add(latents, noise, timesteps)
    error = torch.full_like(latents, 0.1)
    if kind == "flow":
        level = (timesteps / 1000).view(-1, 1, 1, 1)
        signal, spread = 1 - level, level
        off = level * error
    else:
        alpha = process.alphas_bar[timesteps].view(-1, 1, 1, 1)
        signal, spread = alpha.sqrt(), (1 - alpha).sqrt()
        clean = {
            "epsilon": lambda target: (noisy - spread * target) / signal,
            "v_prediction": lambda target: signal * noisy - spread * target,
            "sample": lambda target: target,
        }[kind]
        target = process.target(latents, noise, timesteps)
        off = clean(target + error) - clean(target)
    cap = (signal / spread).square().clamp(max=5).flatten()
    weighed = min_snr_weights(process, timesteps, 5.0) * error.square().flatten(1).mean(1)
    torch.testing.assert_close(weighed, cap * off.square().flatten(1).mean(1), rtol=1e-3, atol=1e-7)


def test_at_zero_snr_the_noise_counts_in_full(noising):
    weights = min_snr_weights(noising("epsilon"), torch.tensor([999]), 5.0)
    assert weights.tolist() == [1.0]


def test_each_item_of_a_batch_has_its_own_stratum_of_the_timesteps(noising):
    lowest = noising().timesteps(stratified(torch.zeros(4)))
    highest = noising().timesteps(stratified(torch.full((4,), 0.999999, dtype=torch.float64)))
    assert lowest.tolist() == [0, 250, 500, 750]
    assert highest.tolist() == [249, 499, 749, 999]


def test_stratified_numbers_are_uniform_over_all_batches():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([stratified(torch.rand(3, generator=generator)) for _ in range(4000)])
    shares = torch.histc(drawn, 10, 0, 1) / len(drawn)
    torch.testing.assert_close(shares, torch.full((10,), 0.1), rtol=0, atol=0.01)


def test_the_loss_of_a_half_precision_prediction_is_float32():
    loss = squared_errors(torch.tensor([[1.0]], dtype=torch.bfloat16), torch.tensor([[3.0]]))
    assert loss.dtype == torch.float32
    assert loss.tolist() == [4.0]
