"""Names and shapes of layers against diffusers' own U-Nets and its converter of checkpoints."""

import pytest
import torch

from bench.backbones import UNETS
from selma.adapters.formats.architecture import layers_of
from selma.adapters.formats.names import from_sgm, text_module, to_sgm, unet_module

PUBLISHED = {"sd1": "sd14", "sd2": "sd2", "sdxl": "sdxl"}


def modules_of(base):
    return [name.removeprefix("unet.") for name in layers_of(base) if name.startswith("unet.")]


@pytest.mark.parametrize("base", PUBLISHED)
def test_the_layers_of_a_base_are_those_of_diffusers_unet_of_the_published_config(base):
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNETS[PUBLISHED[base]])
    kinds = torch.nn.Linear | torch.nn.Conv2d
    wanted = {
        f"unet.{name}": tuple(module.weight.shape)
        for name, module in unet.named_modules()
        if isinstance(module, kinds)
    }
    found = {name: shape for name, shape in layers_of(base).items() if name.startswith("unet.")}
    assert found == wanted


@pytest.mark.parametrize(
    ("base", "component", "width", "layers"),
    [("sd1", "text_encoder", 768, 12), ("sdxl", "text_encoder_2", 1280, 32)],
)
def test_the_layers_of_a_text_encoder_are_those_of_transformers(base, component, width, layers):
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, projection_dim=width,
        num_hidden_layers=layers, vocab_size=8,
    )  # fmt: skip
    with torch.device("meta"):
        encoder = CLIPTextModelWithProjection(config)
    wanted = {
        f"{component}.{name}": tuple(module.weight.shape)
        for name, module in encoder.named_modules()
        if isinstance(module, torch.nn.Linear)
        and (component == "text_encoder_2" or name != "text_projection")
    }
    found = {n: shape for n, shape in layers_of(base).items() if n.startswith(f"{component}.")}
    assert found == wanted


@pytest.mark.parametrize("base", PUBLISHED)
def test_names_with_underscores_lead_back_to_their_modules(base):
    for name in modules_of(base):
        assert unet_module(name.replace(".", "_")) == (name, False)
    for layer in layers_of(base):
        component, _, name = layer.partition(".")
        if component != "unet":
            assert text_module(name.replace(".", "_")) == name


def test_sgms_names_are_those_from_which_diffusers_converts_a_checkpoint():
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    modules = modules_of("sdxl")
    checkpoint = {
        f"model.diffusion_model.{to_sgm(name)}.{part}": name
        for name in modules
        for part in ("weight", "bias")
    }
    config = {**UNETS["sdxl"], "layers_per_block": 2}
    converted = convert_ldm_unet_checkpoint(checkpoint, config)
    found = {key: name for key, name in converted.items() if key.endswith(".weight")}
    assert found == {f"{name}.weight": name for name in modules}


def test_sgms_names_lead_back_to_their_modules():
    for name in modules_of("sdxl"):
        assert from_sgm(to_sgm(name)) == name
        assert unet_module(to_sgm(name).replace(".", "_")) == (name, True)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("input_blocks_1_1_transformer_blocks_0_attn2_to_k",  # of SD1: no attention there in SDXL
         "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"),
        ("input_blocks_11_0_in_layers_2", "down_blocks.3.resnets.1.conv1"),
        ("output_blocks_2_1_conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks_8_2_conv", "up_blocks.2.upsamplers.0.conv"),
        ("output_blocks_11_1_proj_out", "up_blocks.3.attentions.2.proj_out"),
        ("middle_block_2_out_layers_3", "mid_block.resnets.1.conv2"),
    ],
)  # fmt: skip
def test_sgms_names_of_stable_diffusion_1_are_read(name, module):
    assert unet_module(name) == (module, True)


@pytest.mark.parametrize(
    "name",
    [
        "input_blocks_3_1_proj_in", "input_blocks_4_2_proj_in", "input_blocks_4_0_op",
        "output_blocks_3_1_conv", "middle_block_3_in_layers_2", "input_blocks_4_0_in_layers_3",
        "down_blocks_0_attentions_0_to_q", "down_blocks_0_downsamplers_1_conv", "to_q", "",
        "mid_block_attentions_0_transformer_blocks_0_attn3_to_q", "double_blocks_0_img_attn_qkv",
    ],
)  # fmt: skip
def test_names_of_no_layer_lead_nowhere(name):
    assert unet_module(name) is None
