"""Presets are whole params files; the real ones carry the paper's numbers."""

from pathlib import Path

import pytest

from selma.runtime.params import load_params

ROOT = Path(__file__).parent.parent
REAL = ("sd14", "sd2", "sdxl")


def preset(name):
    return load_params(ROOT / "presets" / f"{name}.yaml")


def test_the_pocket_preset_is_the_repositorys_params_file():
    assert preset("pocket") == load_params(ROOT / "params.yaml")


@pytest.mark.parametrize("name", REAL)
def test_a_real_preset_carries_the_papers_numbers(name):
    params = preset(name)
    assert params.prompts.per_skill == 1000
    assert (params.images.inference_steps, params.images.guidance_scale) == (50, 7.5)
    lora = params.lora
    assert (lora.rank, lora.learning_rate, lora.batch_size) == (128, 3e-4, 64)
    assert lora.train_steps == 5000
    assert len(params.skills) == 5


@pytest.mark.parametrize("name", REAL)
def test_a_real_preset_names_the_skills_that_the_pipeline_has(name):
    assert list(preset(name).skills) == list(preset("pocket").skills)
