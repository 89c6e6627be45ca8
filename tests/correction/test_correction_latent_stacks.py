import numpy as np
import pytest
import torch

from selma.core.errors import BackendError
from selma.correction.editors.latent.composing import compose
from selma.correction.editors.latent.finishing import finish
from selma.correction.editors.latent.levels import make_levels
from selma.correction.editors.latent.stacks import draw, invert
from selma.correction.editors.latent.studio import Layer

SD1 = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "steps_offset": 1, "set_alpha_to_one": False,
    "clip_sample": False, "prediction_type": "epsilon",
}  # fmt: skip
FROM_NOISE = {
    **SD1, "prediction_type": "v_prediction", "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
}  # fmt: skip
CONFIGS = {
    "epsilon, leading": SD1,
    "velocity, leading": {**SD1, "prediction_type": "v_prediction"},
    "epsilon, trailing": {**SD1, "timestep_spacing": "trailing"},
    "velocity, trailing, from noise": FROM_NOISE,
}


class KnowsAll:
    """Predicts what a denoiser would that knew the picture and the noise, at every level."""

    def __init__(self, levels, clean, noise):
        self.levels, self.clean, self.noise = levels, clean, noise

    def predict(self, latents, step, timestep):
        if self.levels.prediction_type == "epsilon":
            return self.noise
        numbers = {self.levels.timestep(n): n for n in range(self.levels.steps + 1)}
        alpha_bar = self.levels.alphas_bar[numbers[timestep]]
        return alpha_bar**0.5 * self.noise - (1 - alpha_bar) ** 0.5 * self.clean


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def pair():
    return normal(1, 4, 3, 5, seed=1), normal(1, 4, 3, 5, seed=2)


def clean_of(levels, clean, noise):
    """What lies at the last level, which has a little noise in it."""
    return levels.alphas_bar[-1] ** 0.5 * clean + levels.noise_deviation(levels.steps) * noise


@pytest.mark.parametrize("steps", [50, 12])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_step_from_a_stacks_level_ends_at_the_next_one(config, steps, pair):
    levels = make_levels(config, steps)
    guide = KnowsAll(levels, *pair)
    stack = invert(clean_of(levels, *pair), guide, levels)
    assert stack.shape == (steps + 1, 4, 3, 5)
    for step in range(steps):
        prediction = guide.predict(stack[step : step + 1], step, levels.timestep(step))
        reached = levels.denoise(prediction, stack[step : step + 1], step)
        torch.testing.assert_close(reached[0], stack[step + 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_stack_holds_the_picture_and_its_noise_in_the_levels_shares(config, pair):
    clean, noise = pair
    levels = make_levels(config, 10)
    stack = invert(clean_of(levels, *pair), KnowsAll(levels, *pair), levels)
    for latents, alpha_bar in zip(stack, levels.alphas_bar, strict=True):
        mixed = alpha_bar**0.5 * clean[0] + (1 - alpha_bar) ** 0.5 * noise[0]
        torch.testing.assert_close(latents, mixed, rtol=0, atol=1e-4)


@pytest.mark.parametrize("steps", [50, 25])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_step_is_the_stock_schedulers(config, steps):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_config(config)
    scheduler.set_timesteps(steps)
    levels = make_levels(config, steps)
    assert levels.timesteps == tuple(scheduler.timesteps.tolist())
    latents, prediction = normal(1, 4, 3, 5, seed=1), normal(1, 4, 3, 5, seed=2)
    for step, timestep in enumerate(scheduler.timesteps):
        theirs = scheduler.step(prediction, timestep, latents).prev_sample
        ours = levels.denoise(prediction, latents, step)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_published_time_steps():
    levels = make_levels(SD1, 50)
    assert levels.timesteps == tuple(range(981, 0, -20))
    assert [levels.timestep(level) for level in (0, 49, 50)] == [981, 1, 0]
    assert len(levels.alphas_bar) == 51


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction_type": "sample"}, "predicts 'sample'"),
        ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, "ends in plain noise"),
    ],
)
def test_a_model_that_cannot_be_inverted_is_refused(change, message):
    with pytest.raises(BackendError, match=message):
        make_levels({**SD1, **change}, 10)


def test_drawing_can_begin_at_a_later_level_and_be_held(pair):
    levels = make_levels(SD1, 5)
    guide = KnowsAll(levels, *pair)
    stack = invert(clean_of(levels, *pair), guide, levels)
    seen = []
    drawn = draw(
        stack[2:3], guide, levels, first_step=2,
        before=lambda latents, step: seen.append(("before", step)) or latents,
        after=lambda latents, step: seen.append(("after", step)) or latents + 1,
    )  # fmt: skip
    assert drawn.shape == (4, 4, 3, 5)
    assert seen == [(when, step) for step in (2, 3, 4) for when in ("before", "after")]
    torch.testing.assert_close(drawn[1], stack[3] + 1)


def mask_of(*cells, shape=(4, 6)):
    mask = np.zeros(shape, dtype=bool)
    for row, column in cells:
        mask[row, column] = True
    return mask


@pytest.fixture
def composed():
    large = Layer(mask_of((0, 0), (0, 1), (1, 0), (1, 1)), torch.full((3, 2, 4, 6), 1.0))
    small = Layer(mask_of((1, 1), (1, 2)), torch.full((3, 2, 4, 6), 2.0))
    removal = mask_of((1, 2), (1, 3), (3, 5))
    background, hole = torch.full((3, 2, 4, 6), 3.0), torch.full((2, 4, 6), 4.0)
    return compose([small, large], background, removal, hole), removal


def test_each_layer_shows_in_its_mask_and_small_ones_win(composed):
    composition, _ = composed
    expected = np.full((4, 6), 3.0)  # the background
    expected[0, :2] = expected[1, 0] = 1.0
    expected[1, 1:3] = 2.0
    expected[1, 3] = expected[3, 5] = 4.0  # removed, and covered by nothing
    for level in composition.stack:
        for channel in level:
            np.testing.assert_array_equal(channel.numpy(), expected)


def test_all_but_the_uncovered_hole_is_frozen(composed):
    composition, _ = composed
    free = {tuple(map(int, cell)) for cell in np.argwhere(~composition.frozen)}
    assert free == {(1, 3), (3, 5)}


def finished(composed, frozen_share):
    composition, _ = composed
    levels = make_levels(SD1, 2)
    clean, noise = normal(1, 2, 4, 6, seed=1), normal(1, 2, 4, 6, seed=2)
    guide = KnowsAll(levels, clean, noise)
    hole = torch.full((1, 2, 4, 6), 9.0, dtype=torch.float64)
    options = {"hole": hole, "frozen_share": frozen_share}
    return finish(composition, guide, levels, **options), composition


def test_frozen_to_the_end_the_result_is_the_composition_outside_the_hole(composed):
    result, composition = finished(composed, 1.0)
    frozen = composition.frozen
    np.testing.assert_array_equal(result[0].numpy()[:, frozen], composition.stack[-1][:, frozen])
    assert not np.isclose(result[0].numpy()[:, ~frozen], 4.0).any()


def test_never_frozen_nothing_is_put_back(composed):
    result, composition = finished(composed, 0.0)
    levels = make_levels(SD1, 2)
    guide = KnowsAll(levels, normal(1, 2, 4, 6, seed=1), normal(1, 2, 4, 6, seed=2))
    start = torch.where(torch.from_numpy(composition.frozen), composition.stack[:1].double(), 9.0)
    torch.testing.assert_close(result, draw(start, guide, levels)[-1:])
