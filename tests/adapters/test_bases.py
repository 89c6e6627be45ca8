"""Which published model an adapter belongs to, told by its layers."""

import pytest
import torch

from selma.adapters.bases import find_base, possible_bases
from selma.adapters.factors import LoraFactors
from selma.adapters.formats.architecture import layers_of

UP = "unet.up_blocks.1.attentions.0.transformer_blocks.0"
TEXT = "text_encoder.text_model.encoder.layers.3.self_attn.q_proj"


def factors(*shape):
    kernel = shape[2:] or None
    inside = shape[1] * (shape[2] * shape[3] if kernel else 1)
    return LoraFactors(torch.ones(1, inside), torch.ones(shape[0], 1), kernel=kernel)


@pytest.mark.parametrize("base", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("kept", ["attn", "unet", ""])
def test_an_adapter_of_a_base_is_found_to_be_its(base, kept):
    shapes = layers_of(base)
    adapter = {name: factors(*shapes[name]) for name in list(shapes)[::7] if kept in name}
    assert find_base(adapter) == base


@pytest.mark.parametrize(
    ("width", "text", "base"),
    [(1280, 768, "sd1"), (1280, 1024, "sd2"), (640, 2048, "sdxl"), (640, 768, None), (8, 6, None)],
)
def test_keys_that_read_the_text_tell_the_base_by_its_width(width, text, base):
    assert find_base({f"{UP}.attn2.to_k": factors(width, text)}) == base


def test_what_two_bases_have_alike_leaves_both():
    alike = {f"{UP}.attn1.to_q": factors(1280, 1280)}
    assert possible_bases(alike) == ("sd1", "sd2") and find_base(alike) is None
    assert possible_bases({TEXT: factors(768, 768)}) == ("sd1", "sdxl", "sd3")


def test_layers_of_two_bases_together_are_of_none():
    mixed = {f"{UP}.attn2.to_k": factors(1280, 768), TEXT: factors(1024, 1024)}
    assert possible_bases(mixed) == ()


@pytest.mark.parametrize(
    ("module", "shape", "base"),
    [
        ("transformer_blocks.0.attn.to_q", (1536, 1536), "sd3"),
        ("transformer_blocks.37.attn.add_q_proj", (2432, 2432), "sd3"),
        ("transformer_blocks.0.attn.to_q", (3072, 3072), None),  # Flux
        ("single_transformer_blocks.0.attn.to_q", (1536, 1536), None),
        ("transformer_blocks.0.attn1.to_q", (1152, 1152), None),  # PixArt
    ],
)
def test_a_transformer_is_stable_diffusion_3_by_its_width(module, shape, base):
    assert find_base({f"transformer.{module}": factors(*shape)}) == base
