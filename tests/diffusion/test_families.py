import json

import numpy as np
import pytest
import torch
from test_sampling import PROMPTS, SEEDS, draw, largest_difference, stock_pictures

from selma.core.errors import BackendError, ConfigError, RecordError
from selma.diffusion.loading import FAMILIES, load_backbone
from selma.diffusion.tiny import KINDS, write_tiny_backbone

# diffusers' Euler scheduler with numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

DPM = "DPMSolverMultistepScheduler"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    directory = tmp_path_factory.mktemp("families")
    for kind in KINDS:
        write_tiny_backbone(kind, directory / kind)
    return directory


def load(folder, dtype="float32"):
    return load_backbone(str(folder), dtype, "cpu")


def stock(folder):
    from diffusers import DiffusionPipeline

    options = {"text_encoder_3": None, "tokenizer_3": None} if folder.name == "sd3" else {}
    pipeline = DiffusionPipeline.from_pretrained(folder, **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def changed(folder, target, file, **changes):
    import shutil

    shutil.copytree(folder, target)
    path = target / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return target


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_each_family_draws_the_stock_pictures(folders, kind, guidance_scale):
    ours = draw(load(folders / kind), guidance_scale=guidance_scale)
    theirs = stock_pictures(stock(folders / kind), PROMPTS, SEEDS, guidance_scale)
    assert ours.shape == (5, 32, 32, 3)
    assert ours.std() > 10
    assert largest_difference(ours[0], ours[1]) > 5
    assert largest_difference(ours, theirs) <= 1


@pytest.mark.parametrize("silent_is_zero", [True, False])
def test_an_xl_model_without_a_prompt_sees_what_its_index_says(folders, tmp_path, silent_is_zero):
    folder = changed(
        folders / "sdxl", tmp_path / "model", "model_index.json",
        force_zeros_for_empty_prompt=silent_is_zero,
    )  # fmt: skip
    ours = draw(load(folder))
    assert largest_difference(ours, stock_pictures(stock(folder), PROMPTS, SEEDS, 3.0)) <= 1


def test_the_sizes_an_xl_model_is_told_are_those_of_the_stock_pipeline(folders):
    backbone, pipeline = load(folders / "sdxl"), stock(folders / "sdxl")
    expected = pipeline._get_add_time_ids((32, 32), (0, 0), (32, 32), torch.float32, 16)
    conditions = backbone.encode_prompts(["a dog", "a cat"])
    assert torch.equal(conditions["sizes"], expected.repeat(2, 1))
    pooled = pipeline.encode_prompt(["a dog", "a cat"])[2]
    torch.testing.assert_close(conditions["pooled"], pooled)


def test_an_xl_models_vae_stays_float32_where_float16_overflows(folders, tmp_path):
    assert load(folders / "sdxl", "float16").vae.dtype == torch.float32
    assert load(folders / "sdxl", "bfloat16").vae.dtype == torch.bfloat16
    assert load(folders / "sd1", "float16").vae.dtype == torch.float16
    fixed = changed(folders / "sdxl", tmp_path / "model", "vae/config.json", force_upcast=False)
    assert load(fixed, "float16").vae.dtype == torch.float16


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_draws_about_the_same(folders, kind):
    full, half = draw(load(folders / kind)), draw(load(folders / kind, "bfloat16"))
    assert np.abs(full.astype(int) - half.astype(int)).mean() < 12


@pytest.mark.parametrize("kind", KINDS)
def test_attention_projections_are_where_a_family_says(folders, kind):
    backbone = load(folders / kind)
    names = [name for name, _ in backbone.denoiser.named_modules()]
    for target in backbone.targets:
        assert any(name.endswith(f".{target}") for name in names)


def test_an_unknown_family_is_refused_with_the_list(folders, tmp_path):
    folder = changed(
        folders / "sd1", tmp_path / "model", "model_index.json", _class_name="FluxPipeline"
    )
    with pytest.raises(ConfigError, match="FluxPipeline.*StableDiffusionXLPipeline"):
        load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_broken_index_is_one_line(folders, tmp_path, text):
    folder = changed(folders / "sd1", tmp_path / "model", "model_index.json")
    (folder / "model_index.json").write_text(text)
    with pytest.raises(RecordError, match=r"model_index\.json: cannot be loaded"):
        load(folder)


def test_a_model_that_takes_other_conditions_than_its_family_is_refused(folders, tmp_path):
    name = next(name for name, family in FAMILIES.items() if family.__name__ == "StableDiffusion")
    folder = changed(folders / "sdxl", tmp_path / "model", "model_index.json", _class_name=name)
    with pytest.raises(BackendError, match="other conditions than the text"):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("sd1", {"_class_name": DPM, "algorithm_type": "sde-dpmsolver++"}),
        ("sd3", {"stochastic_sampling": True}),
    ],
)
def test_a_scheduler_that_draws_noise_of_its_own_is_refused(folders, tmp_path, kind, changes):
    folder = changed(
        folders / kind, tmp_path / "model", "scheduler/scheduler_config.json", **changes
    )
    with pytest.raises(ConfigError, match="draws noise of its own"):
        load(folder)
