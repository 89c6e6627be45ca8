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
from selma.foundation.params import BaseModelParams, TrainingParams
from selma.foundation.tokenizer import build_tokenizer

BRIEF = {"train_steps": 4, "batch_size": 4, "learning_rate": 1e-3, "checkpoint_every_steps": 2}
PLAN = BaseModelParams(
    **BRIEF,
    channels=[32, 32],
    pictures=8,
    wrong_captions=0.4,
    partial_captions=0.15,
    schedule_steps=6,
    cooldown_steps=2,
    average_decay=0.9,
    grid_every_steps=3,
)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(0)


@pytest.fixture(scope="module")
def autoencoder():
    return build_autoencoder(0).eval()


@pytest.fixture(scope="module")
def training_set(autoencoder, tokenizer):
    return build_training_set(autoencoder, tokenizer, PLAN, seed=0)


class KilledError(Exception):
    pass


def die_at_step_three(state):
    if state.step == 3:
        raise KilledError


def assert_same_weights(first, second):
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])


def test_a_killed_base_model_resumes_to_the_same_weights(tmp_path, training_set, tokenizer):
    def trained(folder, on_average=None):
        return train_denoiser(
            training_set, tokenizer, PLAN, seed=0, device="cpu", work=folder, on_average=on_average
        )

    def die(step, denoiser):
        raise KilledError

    whole, losses = trained(tmp_path / "whole")
    with pytest.raises(KilledError):
        trained(tmp_path / "killed", die)
    assert (tmp_path / "killed/state.safetensors").exists()
    resumed, resumed_losses = trained(tmp_path / "killed")
    assert resumed_losses == losses
    for first, second in zip(whole, resumed, strict=True):
        assert_same_weights(first, second)


def test_a_killed_autoencoder_resumes_to_the_same_weights(tmp_path):
    def trained(folder, on_state=None):
        plan = TrainingParams(**BRIEF)
        return train_autoencoder(plan, seed=0, device="cpu", work=folder, on_state=on_state)

    whole, losses = trained(tmp_path / "whole")
    with pytest.raises(KilledError):
        trained(tmp_path / "killed", die_at_step_three)
    assert (tmp_path / "killed/state.safetensors").exists()
    resumed, resumed_losses = trained(tmp_path / "killed")
    assert resumed_losses == losses
    assert_same_weights(whole, resumed)


def test_averaged_models_are_shown_as_often_as_asked(tmp_path, training_set, tokenizer):
    seen = []
    train_denoiser(
        training_set,
        tokenizer,
        PLAN,
        seed=0,
        device="cpu",
        work=tmp_path,
        on_average=lambda step, denoiser: seen.append((step, denoiser.unet.training)),
    )
    assert seen == [(3, False), (4, False)]


def test_a_training_set_is_taken_up_and_not_built_again(tmp_path, training_set):
    built = []

    def build():
        built.append(training_set)
        return training_set

    for _ in range(2):
        kept = kept_training_set(tmp_path / "work" / "set.npz", build)
        assert np.array_equal(kept.latents, training_set.latents)
        assert np.array_equal(kept.token_ids, training_set.token_ids)
    assert len(built) == 1


def test_stock_diffusers_loads_the_half_stored_model_in_float32(
    tmp_path, training_set, tokenizer, autoencoder
):
    from diffusers import StableDiffusionPipeline

    denoiser, _ = train_denoiser(training_set, tokenizer, PLAN, seed=0, device="cpu", work=tmp_path)
    save_pipeline(tmp_path / "base", autoencoder, tokenizer, denoiser)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "base", safety_checker=None)
    parts = (pipeline.unet, pipeline.text_encoder, pipeline.vae)
    assert {part.dtype for part in parts} == {torch.float32}
    stored = next(iter(denoiser.unet.parameters())).half().float()
    assert torch.equal(next(iter(pipeline.unet.parameters())), stored)
