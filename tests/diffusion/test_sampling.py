from collections import Counter

import numpy as np
import pytest

from selma.core.errors import BackendError
from selma.diffusion.requests import to_uint8
from selma.diffusion.sampling import draw_batch

PROMPTS = ["a red cat", "dog", "a red cat", "the long blue boat sails far away over the sea", ""]
SEEDS = [1, 2, 3, 2**62, 5]


def draw(backbone, prompts=PROMPTS, seeds=SEEDS, *, guidance_scale=3.0, batch_size=10, steps=4):
    pictures = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        pixels = draw_batch(
            batch,
            seeds[start : start + batch_size],
            backbone,
            guidance_scale=guidance_scale,
            inference_steps=steps,
        )
        pictures += to_uint8(pixels, batch)
    return np.stack(pictures)


def largest_difference(one, other):
    return np.abs(one.astype(int) - other.astype(int)).max()


def stock_pictures(pipeline, prompts, seeds, guidance_scale):
    import torch

    images = pipeline(
        prompts,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        guidance_scale=guidance_scale,
        num_inference_steps=4,
        height=32,
        width=32,
    ).images
    return np.stack([np.asarray(image) for image in images])


def load_stock(directory):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(directory, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_pictures_are_those_of_the_stock_pipeline(backbone, model_directory, guidance_scale):
    ours = draw(backbone, guidance_scale=guidance_scale)
    stock = stock_pictures(load_stock(model_directory), PROMPTS, SEEDS, guidance_scale)
    assert ours.shape == (5, 32, 32, 3)
    assert ours.std() > 10
    assert largest_difference(ours, stock) <= 1


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers with numpy 2
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_other_noise_schedulers_also_draw_the_stock_pictures(model_directory, tmp_path, name):
    import diffusers

    from selma.diffusion.loading import load_backbone

    stock = load_stock(model_directory)
    stock.scheduler = getattr(diffusers, name)(prediction_type="v_prediction", steps_offset=1)
    stock.save_pretrained(tmp_path)
    ours = draw(load_backbone(str(tmp_path), "float32", "cpu"))
    assert largest_difference(ours, stock_pictures(stock, PROMPTS, SEEDS, 3.0)) <= 1


def test_scheduler_settings_that_stock_diffusers_overrides_are_overridden(
    model_directory, tmp_path
):
    import shutil

    from selma.diffusion.loading import load_backbone

    shutil.copytree(model_directory, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"clip_sample": false', '"clip_sample": true'))
    backbone = load_backbone(str(tmp_path), "float32", "cpu")
    assert backbone.noise_scheduler.config.clip_sample is False


def test_the_same_call_draws_the_same_pixels(backbone):
    assert np.array_equal(draw(backbone), draw(backbone))


def test_a_picture_does_not_depend_on_its_batch_or_place(backbone):
    together = draw(backbone)
    alone = draw(backbone, batch_size=1)
    backwards = draw(backbone, PROMPTS[::-1], SEEDS[::-1], batch_size=2)[::-1]
    assert largest_difference(together, alone) <= 1
    assert largest_difference(together, backwards) <= 1


def test_prompt_and_seed_both_matter(backbone):
    pictures = draw(backbone)
    assert largest_difference(pictures[0], pictures[2]) > 5  # other seed
    same_seed = draw(backbone, ["a red cat", "dog"], [7, 7])
    assert not np.array_equal(same_seed[0], same_seed[1])


def test_prompts_longer_than_the_text_encoder_reads_are_counted(backbone):
    letters = "abcdefghijklmn"  # 14 tokens and the two ends fill all 16 places
    assert backbone.count_truncated([letters, letters + "o", "", "dog"]) == 1


def test_a_picture_of_nan_names_its_prompt(backbone):
    backbone.vae.decoder.conv_out.weight.fill_(float("nan"))
    with pytest.raises(BackendError, match="the picture of 'a red cat' is not finite"):
        draw(backbone, steps=1)


def test_the_text_is_projected_once_a_batch_and_nothing_else_changes(backbone):
    from selma.diffusion.stable_diffusion import StableDiffusion

    layers = dict(backbone.denoiser.named_modules())
    seen = [name for name in layers if name.endswith(StableDiffusion.text_projections)]
    assert seen
    calls = Counter()
    for name in seen:
        weight = layers[name].weight

        def project(text, name=name, weight=weight):
            calls[name] += 1
            return text @ weight.T

        layers[name].forward = project

    def draw(prompts):
        return draw_batch(prompts, [1, 2], backbone, guidance_scale=3.0, inference_steps=4)

    first = draw(["a cat", "a dog"])
    assert dict(calls) == dict.fromkeys(seen, 1)
    other = draw(["a tree", "a dog"])
    assert dict(calls) == dict.fromkeys(seen, 2)
    assert not np.array_equal(first[0], other[0])
    assert np.array_equal(first, draw(["a cat", "a dog"]))
    assert all("forward" not in vars(layers[name]) for name in layers if name not in seen)
