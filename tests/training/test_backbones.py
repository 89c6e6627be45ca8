"""Each family is trained, killed, resumed, saved, loaded by stock diffusers and drawn with."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from selma.adapters.files import factors_of, read_adapter, write_adapter
from selma.core.errors import RecordError
from selma.diffusion.drawing import batch_drawer
from selma.diffusion.loading import add_updates, load_backbone
from selma.diffusion.requests import make_requests
from selma.diffusion.tiny import write_tiny_backbone
from selma.training.experts import train
from selma.training.moments import decode_pictures, encode_examples
from selma.training.steps import denoising_losses, draw_step

KINDS = ("sd1", "sd2", "sdxl")
LORA = {
    "seed": 3, "rank": 2, "targets": None, "learning_rate": 0.05,
    "weight_decay": 0.0, "train_steps": 6, "batch_size": 4, "micro_batch_size": 2,
    "max_gradient_norm": 1.0, "min_snr_gamma": None, "average_decay": None, "flip": False,
    "select": None, "checkpoint_every_steps": 2,
}  # fmt: skip
PROMPTS = {"a": "a red cat", "b": "two dogs"}
STEPS = {"guidance_scale": 3.0, "inference_steps": 3}

# diffusers' Euler scheduler with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    directory = tmp_path_factory.mktemp("backbones")
    for kind in KINDS:
        write_tiny_backbone(kind, directory / kind)
    return directory


@pytest.fixture
def rows(make_row):
    return [make_row("count", number, 32) for number in range(5)]


def load(folder):
    return load_backbone(str(folder), "float32", "cpu")


class KilledError(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_an_expert_of_each_family_resumes_and_draws_as_in_stock_diffusers(
    folders, rows, tmp_path, kind
):
    from diffusers import DiffusionPipeline

    def die(step, loss):
        if step == 3:
            raise KilledError

    def run(work, **more):
        backbone = load(folders / kind)
        return train({"count": rows}, backbone, tmp_path / work, **LORA, **more)["count"]

    whole = run("whole")
    with pytest.raises(KilledError):
        run("killed", on_step=die)
    resumed = run("killed")
    for name, tensor in whole.tensors.items():
        assert torch.equal(resumed.tensors[name], tensor)

    path = tmp_path / "adapter.safetensors"
    write_adapter(path, factors_of(resumed.tensors, "unet"), {"name": "count"})
    requests = make_requests(PROMPTS, 2, 0, "test")
    backbone = load(folders / kind)
    before = np.stack(batch_drawer(backbone, **STEPS)(requests)).astype(int)
    updates = ((name, layer.delta()) for name, layer in read_adapter(path).items())
    add_updates(backbone.components, updates, str(path))
    ours = np.stack(batch_drawer(backbone, **STEPS)(requests)).astype(int)
    assert np.abs(ours - before).max() > 3

    stock = DiffusionPipeline.from_pretrained(folders / kind)
    stock.set_progress_bar_config(disable=True)
    stock.load_lora_weights(str(tmp_path), weight_name=path.name)
    images = stock(
        [request.prompt for request in requests],
        generator=[torch.Generator().manual_seed(request.seed) for request in requests],
        guidance_scale=3.0, num_inference_steps=3, height=32, width=32,
    ).images  # fmt: skip
    assert np.abs(ours - np.stack([np.asarray(image) for image in images])).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flip", [False, True])
def test_the_loss_from_cached_moments_is_that_of_encoding_in_every_step(
    folders, rows, tmp_path, kind, flip
):
    """As diffusers' trainers do it: VAE, posterior sample, text encoders, scheduler's own noise."""
    from diffusers import DDPMScheduler

    backbone = load(folders / kind)
    examples = encode_examples(rows, backbone, tmp_path, flip=flip)
    draws = draw_step(
        seed=1, name="count", step=0, batch_size=4, number=5, latent_shape=(4, 8, 8), flip=flip
    )
    pixels = decode_pictures([rows[item] for item in draws.items], (32, 32))
    pixels[draws.flipped] = pixels[draws.flipped].flip(3)
    posterior = backbone.vae.encode(pixels).latent_dist
    latents = posterior.mean + posterior.std * draws.posterior_noise
    latents = latents * backbone.vae.config.scaling_factor
    timesteps = (draws.levels * 1000).long()
    scheduler = DDPMScheduler.from_config(backbone.noise_scheduler.config)  # also of Euler's
    noisy = scheduler.add_noise(latents, draws.noise, timesteps)
    target = draws.noise
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, draws.noise, timesteps)
    conditions = backbone.encode_prompts([rows[item]["prompt"] for item in draws.items])
    online = (backbone.predict(noisy, timesteps, conditions) - target).square().mean((1, 2, 3))
    cached = denoising_losses(backbone, [(examples, draws)])
    torch.testing.assert_close(cached, online, rtol=1e-5, atol=1e-5)
    assert bool(draws.flipped.any()) == flip


def test_moments_are_read_from_files_and_not_kept_in_memory(folders, rows, tmp_path):
    examples = encode_examples(rows, load(folders / "sd1"), tmp_path, flip=False)
    (path,) = tmp_path.iterdir()
    means, _ = examples.moments([0, 1], [False, False])
    assert torch.equal(means, load_file(path)["mean"][:2])


def test_a_picture_of_another_size_than_the_first_is_named(folders, rows, make_row, tmp_path):
    with pytest.raises(RecordError, match=r"'count-9'.*\(16, 16\).*expected \(32, 32\)"):
        encode_examples(
            [*rows, make_row("count", 9, 16)], load(folders / "sd1"), tmp_path, flip=False
        )
