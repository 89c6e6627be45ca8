"""A merge's dev score is what stock diffusers' pictures of it get from the judge."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path += [str(Path(__file__).parent.parent / "stages")]
from stage_world import item, question, stock_picture, stock_pipeline

from selma.adapters.factors import LoraFactors
from selma.core.errors import RecordError
from selma.core.seeds import derive_seed
from selma.diffusion.loading import load_backbone
from selma.judges.loading import judge_settings
from selma.measuring.dev_scores import DevSplit

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
HOW = {"guidance_scale": 2.0, "inference_steps": 2}
PROMPTS = ("two red stars", "a blue heart", "a green ring", "three pink crosses")
ROWS = [item(f"i{n}", prompt, question(1, "Bright?")) for n, prompt in enumerate(PROMPTS)]
JUDGE = {
    "path": None, "revision": None, "dtype": "float32", "questions_per_batch": 1,
    "max_new_tokens": 1, "beams": 1,
}  # fmt: skip


class BrightnessJudge:
    """Says yes to a picture that is brighter than a limit."""

    about = {"class": "brightness"}

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, pictures, questions):
        words = ["yes" if np.asarray(p).mean() > self.limit else "no" for p in pictures]
        return [[word] * len(asked) for word, asked in zip(words, questions, strict=True)]


@pytest.fixture
def base(tiny_models):
    return str(tiny_models / "models/pocket/base")


@pytest.fixture
def adapter():
    factors = LoraFactors(torch.eye(2, 96), 3.0 * torch.ones(32, 2))
    return {f"unet.{LAYER}": factors}


@pytest.fixture
def brightness(base, adapter):
    """Of the pictures that stock diffusers draws with the update in its weights."""
    pipeline = stock_pipeline(base)
    (factors,) = adapter.values()
    pipeline.unet.get_submodule(LAYER).weight.data += factors.delta().float()
    pictures = [
        stock_picture(pipeline, row["prompt"], derive_seed(7, "dev", "mine", row["item_id"], 0),
                      **HOW)
        for row in ROWS
    ]  # fmt: skip
    return [float(picture.mean()) for picture in pictures]


def split(limit, rows=ROWS):
    return DevSplit(
        name="mine", rows=rows, seed=7, drawing={**HOW, "per_prompt": 1, "batch_size": 3},
        judge=BrightnessJudge(limit), judge_kind="pocket",
        judge_settings=judge_settings("pocket", JUDGE, template="bare"),
        asking={"revision": "1", "normalise": "as-is", "batch_size": 2}, measure="dsg",
        scoring={"policy": "official", "mean": "prompt"}, no_answer_max=0.0,
    )  # fmt: skip


def test_it_is_the_share_of_questions_that_the_stock_pictures_get_right(
    base, adapter, brightness, tmp_path
):
    backbone = load_backbone(base, "float32", "cpu")
    before = {n: p.clone() for n, p in backbone.denoiser.state_dict().items()}
    ordered = sorted(brightness)
    for above in (1, 3):
        limit = (ordered[-above] + ordered[-above - 1]) / 2
        found = split(limit).score(adapter, backbone, "trial 0", tmp_path / "trial")
        assert found == pytest.approx(100 * above / len(ROWS))
        assert not (tmp_path / "trial").exists()
    after = backbone.denoiser.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_pictures_without_light_stop_it_and_name_what_was_scored(base, adapter, tmp_path):
    backbone = load_backbone(base, "float32", "cpu")
    for parameter in backbone.vae.decoder.conv_out.parameters():
        parameter.data.zero_().sub_(1.0)
    backbone.vae.decoder.conv_out.weight.data.zero_()
    with pytest.raises(RecordError, match="trial 3: .* black"):
        split(0.0).score(adapter, backbone, "trial 3", tmp_path / "trial")
