import numpy as np
import pytest
import torch

from selma.foundation.autoencoder import build_autoencoder, train_autoencoder
from selma.foundation.denoiser import (
    build_training_set,
    kept_training_set,
    save_pipeline,
    train_denoiser,
)
from selma.foundation.pictures import CaptionNoise
from selma.foundation.tokenizer import build_tokenizer
from selma.training.loop import Checkpointing

SETTINGS = {
    "channels": (32, 32),
    "seed": 0,
    "train_steps": 4,
    "schedule_steps": 6,
    "cooldown_steps": 2,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "average_decay": 0.9,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(0)


@pytest.fixture(scope="module")
def autoencoder():
    return build_autoencoder(0).eval()


@pytest.fixture(scope="module")
def training_set(autoencoder, tokenizer):
    return build_training_set(
        autoencoder,
        tokenizer,
        seed=0,
        pictures=8,
        noise=CaptionNoise(wrong=0.4, partial=0.15),
        advance=lambda number: None,
    )


class KilledError(Exception):
    pass


def die_at_step_three(step, loss):
    if step == 3:
        raise KilledError


def test_a_killed_base_model_resumes_to_the_same_weights(tmp_path, training_set, tokenizer):
    whole = train_denoiser(training_set, tokenizer, **SETTINGS)
    keep = Checkpointing(tmp_path / "state.safetensors", 2)
    with pytest.raises(KilledError):
        train_denoiser(
            training_set, tokenizer, **SETTINGS, checkpointing=keep, on_step=die_at_step_three
        )
    resumed = train_denoiser(training_set, tokenizer, **SETTINGS, checkpointing=keep)
    assert resumed[2] == whole[2]
    for first, second in zip(whole[:2], resumed[:2], strict=True):
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name])


def test_a_killed_autoencoder_resumes_to_the_same_weights(tmp_path):
    settings = {"seed": 0, "train_steps": 4, "batch_size": 2, "learning_rate": 1e-3}
    whole, _ = train_autoencoder(**settings, device="cpu")
    keep = Checkpointing(tmp_path / "state.safetensors", 2)
    with pytest.raises(KilledError):
        train_autoencoder(**settings, device="cpu", checkpointing=keep, on_step=die_at_step_three)
    resumed, _ = train_autoencoder(**settings, device="cpu", checkpointing=keep)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])


def test_averaged_models_are_shown_as_often_as_asked(training_set, tokenizer):
    seen = []
    train_denoiser(
        training_set,
        tokenizer,
        **SETTINGS,
        on_average=lambda step, text_encoder, unet: seen.append((step, unet.training)),
        average_every_steps=3,
    )
    assert seen == [(3, False), (4, False)]


def test_a_training_set_is_taken_up_and_not_built_again(tmp_path, autoencoder, tokenizer):
    built = []

    def build():
        return build_training_set(
            autoencoder,
            tokenizer,
            seed=0,
            pictures=4,
            noise=CaptionNoise(wrong=0.4, partial=0.15),
            advance=built.append,
        )

    first = kept_training_set(tmp_path, build)
    second = kept_training_set(tmp_path, build)
    assert built == [4]
    assert np.array_equal(first.latents, second.latents)
    assert np.array_equal(first.token_ids, second.token_ids)


def test_stock_diffusers_loads_the_half_stored_model_in_float32(
    tmp_path, training_set, tokenizer, autoencoder
):
    from diffusers import StableDiffusionPipeline

    text_encoder, unet, _ = train_denoiser(training_set, tokenizer, **SETTINGS)
    save_pipeline(tmp_path / "base", autoencoder, text_encoder, tokenizer, unet)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "base", safety_checker=None)
    parts = (pipeline.unet, pipeline.text_encoder, pipeline.vae)
    assert {part.dtype for part in parts} == {torch.float32}
    stored = next(iter(unet.parameters())).half().float()
    assert torch.equal(next(iter(pipeline.unet.parameters())), stored)
