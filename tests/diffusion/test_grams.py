"""The Gram matrix of prompts is of all tokens that the denoiser is shown."""

import pytest
import torch

from selma.diffusion.grams import text_gram
from selma.diffusion.loading import load_backbone
from selma.diffusion.tiny import TOKENS, write_tiny_backbone

PROMPTS = [f"{number} red cats" for number in range(35)]  # more than are encoded at once


@pytest.mark.parametrize(("kind", "width"), [("sd1", 16), ("sdxl", 32)])
def test_it_is_the_mean_of_outer_products_of_all_token_states(kind, width, tmp_path):
    write_tiny_backbone(kind, tmp_path)
    backbone = load_backbone(str(tmp_path), "float32", "cpu")
    states = backbone.encode_prompts(PROMPTS)["text"].double()
    assert states.shape == (35, TOKENS, width)
    expected = torch.einsum("nti,ntj->ij", states, states) / (35 * TOKENS)
    found = text_gram(PROMPTS, backbone)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(text_gram(PROMPTS[::-1], backbone), found)
