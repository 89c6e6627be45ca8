import math

import pytest
import torch

from selma.foundation.denoiser import build_unet
from selma.foundation.grounding import build_gated_unet
from selma.foundation.grounding_attention import GatedAttention, box_coverage
from selma.foundation.grounding_set import SLOTS, ground

BOXES = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 1.0, 0.75]]])
TAKEN = torch.tensor([[True, True]])


def test_a_box_covers_its_share_of_each_cell():
    shares = box_coverage(BOXES, 2)[0]  # cells row by row, then boxes
    assert shares.tolist() == [[1, 0], [0, 0], [0, 0.25], [0, 0.5]]


@pytest.fixture
def unet():
    gated = build_gated_unet(build_unet((32, 32), 0), 0)
    for module in gated.modules():
        if hasattr(module, "fuser"):
            torch.nn.init.zeros_(module.fuser.attn.to_q.weight)  # looks at everything alike
    return gated


def loss_of(unet, grounding):
    attention = GatedAttention(unet)
    with attention.watched(), torch.no_grad():
        noise, text = torch.ones(1, 4, 8, 8), torch.ones(1, 3, unet.config.cross_attention_dim)
        unet(noise, 10, text, cross_attention_kwargs=grounding.arguments())
        return attention.loss(grounding)


def test_attention_to_everything_alike_loses_the_logarithm_of_what_is_there(unet):
    sides = [8, 4, 4, 4, 4, 8, 8]  # two levels: one attention down, one in the middle, two up
    expected = sum(math.log(side**2 + SLOTS) for side in sides) / len(sides)
    found = loss_of(unet, ground(BOXES, torch.ones(1, 2, unet.config.cross_attention_dim), TAKEN))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_boxes_loses_nothing(unet):
    states = torch.ones(1, 2, unet.config.cross_attention_dim)
    assert float(loss_of(unet, ground(BOXES, states, ~TAKEN))) == 0


def test_no_hook_is_left_behind(unet):
    with GatedAttention(unet).watched():
        pass
    hooks = [m.fuser.attn._forward_pre_hooks for m in unet.modules() if hasattr(m, "fuser")]
    assert not any(hooks) and len(hooks) == 7
