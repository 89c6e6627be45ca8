"""The reward model reads picture and prompt, ignores padding and survives its file exactly."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from selma.core.errors import MissingDataError, RecordError
from selma.scorers import image_reward


@pytest.fixture
def model(reward_config):
    torch.manual_seed(0)
    built = image_reward.build(reward_config)
    built.network.eval()
    return built


PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
IDS = torch.tensor([[52, 1, 2, 30, 53], [52, 7, 8, 40, 53]])
ONES = torch.ones_like(IDS)


def test_a_pair_gets_one_number(model):
    assert model.forward(PIXELS, IDS, ONES).shape == (2,)


def test_padding_does_not_change_the_reward(model):
    padded = torch.cat([IDS, torch.full((2, 4), 53)], dim=1)
    mask = torch.cat([ONES, torch.zeros(2, 4, dtype=torch.long)], dim=1)
    torch.testing.assert_close(
        model.forward(PIXELS, padded, mask), model.forward(PIXELS, IDS, ONES)
    )


def test_the_last_word_and_the_picture_both_matter(model):
    other_word, other_picture = IDS.clone(), PIXELS + 1
    other_word[:, 3] = 5
    plain = model.forward(PIXELS, IDS, ONES)
    assert not torch.equal(model.forward(PIXELS, other_word, ONES), plain)
    assert not torch.equal(model.forward(other_picture, IDS, ONES), plain)


def test_the_scale_turns_its_mean_and_deviation_into_zero_and_one(model):
    raw = model.forward(PIXELS, IDS, ONES).detach()
    model.set_scale(float(raw.mean()), float(raw.std()))
    reward = model.reward(PIXELS, IDS, ONES)
    torch.testing.assert_close(reward.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(reward.std(), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_the_head_is_linear_when_it_scores(model):
    head, x, y = model.network["head"], torch.randn(3, 32), torch.randn(3, 32)
    torch.testing.assert_close(head(x + y) + head(torch.zeros(3, 32)), head(x) + head(y))


def test_a_saved_model_is_read_back_exactly(model, tmp_path):
    image_reward.save(model, tmp_path)
    again = image_reward.load(tmp_path)
    assert again.config == model.config
    assert torch.equal(again.forward(PIXELS, IDS, ONES), model.forward(PIXELS, IDS, ONES))


def test_every_weight_is_trained_by_the_reward(model):
    model.forward(PIXELS, IDS, ONES).sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_a_missing_or_an_unexpected_weight_is_an_error(tmp_path, change, write_reward_model):
    write_reward_model(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    if change == "missing":
        del tensors["head.0.weight"]
    else:
        tensors["head.9.weight"] = torch.zeros(1)
    save_file(tensors, path)
    with pytest.raises(RecordError, match="model.safetensors: not the weights of.*head"):
        image_reward.load(tmp_path)


def test_a_file_that_is_cut_or_missing_is_named(tmp_path, write_reward_model):
    write_reward_model(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RecordError, match="model.safetensors"):
        image_reward.load(tmp_path)
    path.unlink()
    with pytest.raises(MissingDataError, match="model.safetensors"):
        image_reward.load(tmp_path)


def test_a_config_with_a_wrong_key_is_named(tmp_path, write_reward_model):
    write_reward_model(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "surprise": 1}))
    with pytest.raises(RecordError, match="config.json.*surprise"):
        image_reward.load(tmp_path)
