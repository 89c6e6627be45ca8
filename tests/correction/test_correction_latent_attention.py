from dataclasses import replace

import numpy as np
import pytest
import torch
from gated_model import ATTENTION

from selma.core.errors import ConfigError
from selma.correction.editors.latent.denoising import Guide, Wish
from selma.correction.editors.latent.guidance import AttentionGuide, Target, attention_loss
from selma.correction.editors.latent.layers import find_layers
from selma.correction.editors.latent.levels import make_levels
from selma.correction.layout import Box
from selma.diffusion.attention import watched
from selma.diffusion.gated import Region
from selma.diffusion.loading import load_backbone
from selma.diffusion.tiny import write_tiny_gated

PUBLISHED = ["mid_block.attentions.0", *(f"up_blocks.1.attentions.{n}" for n in range(3))]
BOX = Box(0.0, 0.0, 0.5, 0.5)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gated") / "model"
    write_tiny_gated(folder, prediction_type="epsilon", latent_size=(6, 10))
    return load_backbone(str(folder), "float32", "cpu")


def make_guide(backbone, grounded_steps=1):
    wish = Wish("a cat", "", 3.0, [Region("a cat", (0.0, 0.0, 0.5, 0.5))])
    return Guide(backbone, wish, grounded_steps)


def latents(seed=0):
    return torch.randn(1, 4, 6, 10, generator=torch.Generator().manual_seed(seed))


def test_the_four_published_layers_are_watched_with_heads_cells_and_tokens(backbone):
    layers = find_layers(backbone.denoiser, None)
    assert layers == tuple(f"{name}.transformer_blocks.0.attn2" for name in PUBLISHED)
    with watched(backbone.denoiser, layers) as maps, torch.no_grad():
        make_guide(backbone).predict_wanted(latents(), 0, 500)
    shapes = [tuple(maps[name].shape) for name in layers]
    assert shapes == [(1, 2, 15, 77)] + [(1, 2, 60, 77)] * 3
    for seen in maps.values():
        torch.testing.assert_close(seen.sum(dim=-1), torch.ones(seen.shape[:-1]))


def test_a_layer_that_is_not_there_is_named(backbone):
    with pytest.raises(ConfigError, match=r"no cross-attention in 'up_blocks\.7'; choose of: down"):
        find_layers(backbone.denoiser, ["mid_block", "up_blocks.7"])


def uniform(heads=2, tokens=4, cells=16):
    return {"layer": torch.full((1, heads, cells, tokens), 1 / tokens)}


def target(**changes):
    own = {"layer": torch.full((2, 16), 0.25)}
    return Target(**{**{"tokens": (1, 2), "word": 2, "boxes": (BOX,), "references": ([own],)},
                     **changes})  # fmt: skip


def test_the_loss_of_uniform_attention_is_that_of_the_formula():
    """4 × 4 cells, a box of 2 × 2: for each head (1 − 1/4) + 4 · 1/4, and nothing to transfer."""
    loss = attention_loss(uniform(), [target()], 0, ATTENTION, (4, 4))
    assert float(loss) == pytest.approx(2 * (0.75 + 1.0), abs=1e-4)


def test_the_loss_counts_the_strongest_cells_alone():
    """Of the 4 cells in the box one counts, of the 12 outside two; of the heads the sum."""
    maps = {"layer": torch.zeros(1, 2, 16, 4)}
    maps["layer"][0, 0, 0, 1] = 0.9  # in the box
    maps["layer"][0, 1, 15, 1] = 0.6  # outside
    one = target(tokens=(1,), references=([{"layer": torch.zeros(2, 16)}],))
    loss = attention_loss(maps, [one], 0, replace(ATTENTION, transfer_weight=0.0), (4, 4))
    assert float(loss) == pytest.approx((1 - 0.9) + 1 + 4 * 0.6 / 2, abs=1e-6)


def test_attention_is_to_be_spread_in_the_box_as_it_was_before():
    """All in one cell of four, against evenly: |1 − 1/4| + 3 · 1/4 apart; mean of two heads."""
    own = torch.full((2, 16), 0.25)
    own[0] = 0
    own[0, 5] = 0.5
    one, other = target(references=([{"layer": own}],)), target()
    settings = replace(ATTENTION, foreground_share=1.0)
    losses = [attention_loss(uniform(), [each], 0, settings, (4, 4)) for each in (one, other)]
    assert float(losses[0] - losses[1]) == pytest.approx(2.0 * 1.5 / 2, abs=1e-3)


def guided(backbone, settings):
    layers = find_layers(backbone.denoiser, None)
    levels = make_levels(backbone.noise_scheduler.config, 4)
    own = {name: torch.full((2, n), 0.1)
           for name, n in zip(layers, (15, 60, 60, 60), strict=True)}  # fmt: skip
    one = Target((1, 2, 3, 4), 4, (BOX,), ([own] * 2,))
    return AttentionGuide(make_guide(backbone), levels, [one], settings, layers, backbone.denoiser)


def test_a_step_along_the_gradient_lowers_the_loss(backbone):
    guide = guided(backbone, ATTENTION)
    loss, gradient = guide.look(latents(), 0)
    assert float(gradient.abs().max()) > 0
    lower, _ = guide.look(latents() - 0.1 * gradient, 0)
    assert lower < loss


def test_each_step_looks_at_its_own_loss(backbone):
    """A step whose loss is small is left alone, and the next one is guided all the same."""
    guide = guided(backbone, ATTENTION)
    first, second = (guide.look(latents(), step)[0] for step in (0, 1))
    assert first != second
    between = replace(ATTENTION, stop_below=(first + second) / 2, iterations=(1, 1))
    changed = [not torch.equal(guided(backbone, between)(latents(), n), latents()) for n in (0, 1)]
    assert changed == [first > second, second > first]
    assert torch.equal(guide(latents(), 2), latents())  # no iterations are asked for


def test_a_guided_model_is_told_of_the_boxes(backbone):
    told, untold = (
        replace(guided(backbone, ATTENTION), guide=make_guide(backbone, steps)) for steps in (1, 0)
    )
    assert told.look(latents(), 0)[0] != untold.look(latents(), 0)[0]
    assert told.look(latents(), 1)[0] == untold.look(latents(), 1)[0]


def test_guidance_of_one_asks_for_the_prompt_alone(backbone):
    wish = Wish("a cat", "a dog", 1.0)
    other = Wish("a cat", "", 1.0)
    with torch.no_grad():
        one, two = (Guide(backbone, w, 0).predict(latents(), 0, 500) for w in (wish, other))
        three = Guide(backbone, replace(wish, guidance_scale=2.0), 0).predict(latents(), 0, 500)
    assert torch.equal(one, two)
    assert not np.allclose(one, three)
