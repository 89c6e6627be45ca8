"""The first weights of a small vision tower: each head looks at one neighbour."""

import pytest
import torch
from transformers import BlipVisionConfig, BlipVisionModel, CLIPVisionConfig, CLIPVisionModel

from selma.foundation.neighbours import HEADS, NEIGHBOURS, start_blip_near, start_clip_near

SIZES = {"hidden_size": 96, "intermediate_size": 8, "num_hidden_layers": 1, "image_size": 32}
SIZES |= {"patch_size": 4, "num_attention_heads": HEADS, "attn_implementation": "eager"}


def _clip():
    tower = CLIPVisionModel(CLIPVisionConfig(**SIZES))
    start_clip_near(getattr(tower, "vision_model", tower))
    return tower


def _blip():
    tower = BlipVisionModel(BlipVisionConfig(**SIZES, initializer_range=96**-0.5))
    start_blip_near(tower)
    return tower


@pytest.mark.parametrize("build", [_clip, _blip])
def test_each_head_looks_most_at_its_own_neighbour(build):
    torch.manual_seed(0)
    with torch.inference_mode():
        seen = build()(torch.zeros(1, 3, 32, 32), output_attentions=True).attentions[0][0]
    patches = seen[:, 1:, 1:].reshape(HEADS, 8, 8, 8, 8)
    for head, (x, y) in enumerate(NEIGHBOURS):
        at = patches[head, 3, 4]  # of the patch in row 3 and column 4
        assert divmod(int(at.argmax()), 8) == (3 + y, 4 + x)
