"""Presets are whole params files; the real ones carry the paper's numbers."""

from pathlib import Path

import pytest

from selma.runtime.params import load_params

ROOT = Path(__file__).parent.parent
REAL = ("sd14", "sd2", "sdxl")


def preset(name):
    return load_params(ROOT / "presets" / f"{name}.yaml")


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
def test_a_real_preset_has_prompts_for_photographs_written(name):
    for skill, row in preset(name).skills.items():
        assert row.instructions == f"data/skills/photo/{skill}.yaml"
        assert (ROOT / row.instructions).exists()


@pytest.mark.parametrize("name", REAL)
def test_a_real_preset_follows_the_papers_protocol_dsg_by_mplug_and_tifa_by_blip2(name):
    params = preset(name)
    judges = {
        measure: params.judges[params.answers[row.answers].judge].kind
        for measure, row in params.measures.items()
    }
    assert judges == {"dsg": "mplug", "tifa": "blip2"}
    assert params.measures["tifa"].mapping == "sbert"


@pytest.mark.parametrize("name", REAL)
def test_presets_compare_the_same_models_by_the_same_measures(name):
    params, pocket = preset(name), preset("pocket")
    for section in ("skills", "merges", "mixtures", "models", "measures", "preferences"):
        assert list(getattr(params, section)) == list(getattr(pocket, section))
