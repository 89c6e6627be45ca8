"""Inpainting pipelines are loaded whole or not at all, with adapters of this project."""

import json
import shutil

import pytest
import torch
from inpainting import JOBS, job, noise_picture, settings
from tiny_inpainting import write_nine_channels

from selma.adapters.factors import LoraFactors
from selma.adapters.files import write_adapter
from selma.core.errors import (
    AdapterMismatchError,
    BackendError,
    ConfigError,
    MissingDataError,
    RecordError,
)
from selma.correction.editors.inpaint.editing import load_inpaint_editor
from selma.correction.editors.inpaint.pipelines import load_inpainting
from selma.correction.segmenters.flat import BoxSegmenter

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v"


def write_lora(path, layer=LAYER, out=32, inside=16):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, inside, generator=generator), torch.randn(out, 2, generator=generator)
    write_adapter(path, {layer: LoraFactors(a, b)}, {"skill": "count"})


def edited(path, **changes):
    editor = load_inpaint_editor(settings(path, **changes), BoxSegmenter(), device="cpu")
    return editor.edit(noise_picture((32, 32)), job(*JOBS["add"])).tobytes()


@pytest.mark.parametrize("component", ["unet", "text_encoder"])
def test_an_adapter_changes_what_is_drawn(tiny_backbones, tmp_path, component):
    layers = {
        "unet": (LAYER, 32, 16),
        "text_encoder": ("text_encoder.text_model.encoder.layers.0.self_attn.v_proj", 16, 16),
    }
    write_lora(tmp_path / "mine.safetensors", *layers[component])
    adapter = str(tmp_path / "mine.safetensors")
    assert edited(tiny_backbones / "sd1") != edited(tiny_backbones / "sd1", adapter=adapter)


def test_the_weight_is_the_bases_plus_the_adapters_update(tiny_backbones, tmp_path):
    path = tmp_path / "mine.safetensors"
    write_lora(path)
    weights = [
        load_inpainting(str(tiny_backbones / "sd1"), "float32", "cpu", adapter)
        .pipeline.unet.get_submodule(LAYER.removeprefix("unet."))
        .weight
        for adapter in (None, str(path))
    ]
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 16, generator=generator), torch.randn(32, 2, generator=generator)
    torch.testing.assert_close(weights[1] - weights[0], b @ a)


def test_an_adapter_of_another_model_is_refused(tiny_backbones, tmp_path):
    write_lora(tmp_path / "a.safetensors", out=7)
    with pytest.raises(AdapterMismatchError, match="belongs to another base model"):
        edited(tiny_backbones / "sd1", adapter=str(tmp_path / "a.safetensors"))


def test_the_class_of_the_pipeline_is_the_familys(tiny_backbones):
    names = [
        type(load_inpainting(str(tiny_backbones / kind), "float32", "cpu", None).pipeline).__name__
        for kind in ("sd1", "sdxl")
    ]
    assert names == ["StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"]


@pytest.fixture
def copy(tiny_backbones, tmp_path):
    shutil.copytree(tiny_backbones / "sd1", tmp_path / "model")
    return tmp_path / "model"


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(path, error):
    with pytest.raises(error) as raised:
        load_inpainting(str(path), "float32", "cpu", None)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_model_of_another_family_is_refused_by_name(copy):
    rewrite(copy / "model_index.json", _class_name="FluxFillPipeline")
    message = refusal(copy, ConfigError)
    assert "FluxFillPipeline" in message and "StableDiffusionXLInpaintPipeline" in message


def test_missing_weights_are_one_clear_line(copy):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert "unet" in refusal(copy, RecordError)


def test_pickled_weights_are_not_read(copy):
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, copy / "unet" / "diffusion_pytorch_model.bin")
    file.unlink()
    assert "unet" in refusal(copy, RecordError)


def test_a_missing_folder_says_what_to_do(tmp_path):
    assert "dvc pull" in refusal(tmp_path / "nothing", MissingDataError)


def test_a_u_net_of_other_channels_is_refused(tiny_backbones, tmp_path):
    write_nine_channels(
        tiny_backbones / "sd1", tmp_path / "eight", "StableDiffusionInpaintPipeline", channels=8
    )
    assert "8 input channels" in refusal(tmp_path / "eight", BackendError)


def test_a_noise_scheduler_that_draws_noise_of_its_own_is_refused(copy):
    rewrite(copy / "scheduler" / "scheduler_config.json", _class_name="DDPMScheduler")
    assert "DDPMScheduler" in refusal(copy, ConfigError)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"alignment": "corner"}, "corner"),
        ({"dilation_px": 4}, "dilation_px"),
        ({"attribute_strength": 1.0}, "attribute_strength"),
        ({"inference_steps": 3, "attribute_strength": 0.3}, "at least 4 steps"),
    ],
)
def test_settings_that_edit_nothing_are_refused_before_a_model_is_loaded(tmp_path, changes, named):
    with pytest.raises(ConfigError, match=named):
        load_inpaint_editor(settings(tmp_path, **changes), BoxSegmenter(), device="cpu")
