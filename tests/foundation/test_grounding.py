import copy

import numpy as np
import pytest
import torch

from selma.foundation.autoencoder import build_autoencoder
from selma.foundation.denoiser import Denoiser, build_text_encoder, build_unet, save_pipeline
from selma.foundation.grounded_pictures import grounded_picture, phrases
from selma.foundation.grounding import (
    build_gated_unet,
    gated_parameters,
    load_base,
    save_grounded,
    train_grounding,
)
from selma.foundation.grounding_set import SLOTS, batch_drawer, build_grounding_set, pool_phrases
from selma.foundation.params import GroundingParams
from selma.foundation.pictures import CaptionNoise
from selma.foundation.tokenizer import build_tokenizer

PLAN = GroundingParams(
    pictures=12,
    wrong_captions=0.0,
    partial_captions=0.0,
    single_objects=0.3,
    empty_captions=0.1,
    ungrounded=0.1,
    partly_grounded=0.3,
    colourless_phrases=0.2,
    timestep_power=1.0,
    attention_weight=0.1,
    train_steps=4,
    batch_size=6,
    learning_rate=1e-2,
    average_decay=0.9,
    checkpoint_every_steps=2,
    held_out_pictures=2,
)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    tokenizer = build_tokenizer(0)
    denoiser = Denoiser(build_text_encoder(tokenizer, 0), build_unet((32, 32), 0))
    folder = tmp_path_factory.mktemp("base")
    save_pipeline(folder, build_autoencoder(0), tokenizer, denoiser)
    return folder


@pytest.fixture(scope="module")
def base(base_folder):
    return load_base(base_folder)


@pytest.fixture(scope="module")
def training_set(base):
    return build_grounding_set(base, PLAN, seed=0)


@pytest.fixture(scope="module")
def trained(base, training_set, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return train_grounding(training_set, base, PLAN, seed=0, device="cpu", work=work)


def changed(**changes):
    return PLAN.model_copy(update=changes)


def predictions(base, unet, batch, **extra):
    with torch.no_grad():
        text = base.text_encoder(batch.token_ids)[0]
        return unet(batch.noise, batch.timesteps, text, **extra).sample


def test_an_untrained_model_predicts_what_base_does_bit_for_bit(base, training_set):
    batch = batch_drawer(training_set, base, PLAN, seed=0)(0)
    grounding = batch.grounding.arguments()
    untrained = build_gated_unet(base.unet, 0).eval()
    found = predictions(base, untrained, batch, cross_attention_kwargs=grounding)
    assert torch.equal(found, predictions(base, base.unet, batch))


def test_shut_gates_make_a_trained_model_predict_what_base_does(base, training_set, trained):
    batch = batch_drawer(training_set, base, PLAN, seed=0)(0)
    grounding = batch.grounding.arguments()
    shut = copy.deepcopy(trained[0])
    with torch.no_grad():
        for name, parameter in gated_parameters(shut).items():
            if "alpha" in name:
                parameter.zero_()
    found = predictions(base, shut, batch, cross_attention_kwargs=grounding)
    assert torch.equal(found, predictions(base, base.unet, batch))


def test_a_trained_model_without_grounding_predicts_what_base_does(base, training_set, trained):
    batch = batch_drawer(training_set, base, PLAN, seed=0)(0)
    grounding = batch.grounding.arguments()
    expected = predictions(base, base.unet, batch)
    assert torch.equal(predictions(base, trained[0], batch), expected)
    grounded = predictions(base, trained[0], batch, cross_attention_kwargs=grounding)
    assert not torch.equal(grounded, expected)


def test_training_changes_the_gated_layers_and_nothing_else(base, trained):
    unet, losses = trained
    before = build_gated_unet(base.unet, 0)
    own = gated_parameters(before)
    assert len(losses) == PLAN.train_steps
    for name, tensor in unet.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name]) == (name not in own)
    assert set(unet.state_dict()) - set(own) == set(base.unet.state_dict())


class KilledError(Exception):
    pass


def test_a_killed_training_resumes_to_the_same_bytes(base, base_folder, training_set, tmp_path):
    def folder_of(name, on_state=None):
        unet, losses = train_grounding(
            training_set, base, PLAN, seed=0, device="cpu", work=tmp_path / name, on_state=on_state
        )
        save_grounded(tmp_path / f"{name}-out", base_folder, unet)
        file = tmp_path / f"{name}-out/unet/diffusion_pytorch_model.safetensors"
        return file.read_bytes(), losses

    def die(state):
        if state.step == 3:
            raise KilledError

    whole = folder_of("whole")
    with pytest.raises(KilledError):
        folder_of("killed", die)
    assert (tmp_path / "killed/state.safetensors").exists()
    assert folder_of("killed") == whole


def test_all_files_but_the_unet_and_the_index_are_bases_to_the_byte(base_folder, trained, tmp_path):
    save_grounded(tmp_path / "gligen", base_folder, trained[0])
    for path in base_folder.rglob("*"):
        name = path.relative_to(base_folder)
        if path.is_file() and name.parts[0] not in ("unet", "model_index.json"):
            assert (tmp_path / "gligen" / name).read_bytes() == path.read_bytes()
    config = (tmp_path / "gligen/unet/config.json").read_text()
    assert '"attention_type": "gated"' in config and str(tmp_path) not in config


def test_a_slot_holds_a_box_and_the_pooled_state_of_a_phrase_that_names_its_object(
    base, training_set
):
    plan = changed(ungrounded=0.0, partly_grounded=0.0, colourless_phrases=0.0, batch_size=1)
    grounding = batch_drawer(training_set, base, plan, seed=0)(0).grounding
    assert grounding.boxes.shape == (1, SLOTS, 4)
    number = int(grounding.masks.sum())
    (row,) = np.nonzero(
        (training_set.boxes[:, :number] == grounding.boxes[0, :number].numpy()).all((1, 2))
    )[0]
    assert training_set.counts[row] == number
    assert not grounding.boxes[0, number:].any() and not grounding.masks[0, number:].any()
    scene = grounded_picture(0, int(row), CaptionNoise(0, 0), PLAN.single_objects).scene
    for slot, item in enumerate(scene.objects):
        named = [text for text in phrases() if text.endswith(f" {item.colour} {item.shape}")]
        states = pool_phrases(base.text_encoder, base.tokenizer, named)
        gap = (states - grounding.positive_embeddings[0, slot]).abs().amax(1)
        assert float(gap.min()) < 1e-5


def test_shares_of_pictures_are_left_without_grounding_or_caption(base, training_set):
    def batch_of(**changes):
        return batch_drawer(training_set, base, changed(batch_size=400, **changes), seed=0)(0)

    assert not batch_of(ungrounded=1.0).grounding.masks.any()
    half = batch_of(ungrounded=0.0, partly_grounded=1.0).grounding.masks.sum()
    whole = batch_of(ungrounded=0.0, partly_grounded=0.0).grounding.masks.sum()
    assert half / whole == pytest.approx(0.5, abs=0.08)
    assert len(batch_of(empty_captions=1.0).token_ids.unique(dim=0)) == 1
    assert len(batch_of(empty_captions=0.0).token_ids.unique(dim=0)) == 12


def test_the_order_of_the_slots_does_not_matter(base, training_set, trained):
    batch = batch_drawer(training_set, base, PLAN, seed=0)(0)
    turned = type(batch.grounding)(*(part.flip(1) for part in batch.grounding))
    there, back = (
        predictions(base, trained[0], batch, cross_attention_kwargs=grounding.arguments())
        for grounding in (batch.grounding, turned)
    )
    torch.testing.assert_close(there, back)
