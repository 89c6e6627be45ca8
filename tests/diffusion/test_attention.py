"""A denoiser's cross-attention is seen as it is, and named by the size of its maps."""

import pytest
import torch

from selma.core.errors import ConfigError
from selma.diffusion.attention import (
    cross_attention,
    grid_of,
    layers_with_rows,
    mean_over_heads,
    rows_with_attention,
    watched,
)
from selma.diffusion.loading import load_backbone
from selma.diffusion.tiny import write_tiny_backbone, write_tiny_gated


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    for kind in ("sd1", "sd2", "sdxl"):
        write_tiny_backbone(kind, folder / kind)
    write_tiny_gated(folder / "gated", prediction_type="epsilon", latent_size=(6, 10))
    return folder


@pytest.fixture(params=["sd1", "sd2", "sdxl", "gated"])
def backbone(folders, request):
    return load_backbone(str(folders / request.param), "float32", "cpu")


def ask(backbone, prompts=("a cat",)):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(len(prompts), *backbone.latent_shape, generator=generator)
    with torch.no_grad():
        return backbone.predict(latents, torch.tensor(500), backbone.encode_prompts(prompts))


def test_watching_changes_no_prediction_and_ends(backbone):
    unet = backbone.denoiser
    before = dict(unet.attn_processors)
    plain = ask(backbone)
    with watched(unet, cross_attention(unet)):
        assert torch.equal(ask(backbone), plain)
    assert all(one is before[name] for name, one in unet.attn_processors.items())


def test_the_processors_return_even_after_a_failure(backbone):
    unet = backbone.denoiser
    before = dict(unet.attn_processors)
    with pytest.raises(ZeroDivisionError), watched(unet, cross_attention(unet)):
        raise ZeroDivisionError
    assert all(one is before[name] for name, one in unet.attn_processors.items())


def test_what_is_watched_is_what_the_layer_does(backbone):
    """The attention that is noted, times the layer's values, is the layer's output."""
    unet = backbone.denoiser
    (name, *_) = cross_attention(unet)
    module = unet.get_submodule(name)
    text = torch.randn(1, 5, module.to_k.in_features)
    hidden = torch.randn(1, 15, module.to_q.in_features)
    with watched(unet, [name]) as maps, torch.no_grad():
        output = module(hidden, encoder_hidden_states=text)
        values = module.to_v(text).unflatten(-1, (module.heads, -1)).transpose(1, 2)
        mixed = module.to_out[0]((maps[name] @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(output, mixed, rtol=1e-4, atol=1e-5)


def test_layers_are_told_by_the_rows_of_the_maps_that_they_have(backbone):
    unet = backbone.denoiser
    with watched(unet, cross_attention(unet)) as maps:
        ask(backbone)
    size = backbone.latent_shape[1:]
    seen = {name: grid_of(one.shape[2], size)[0] for name, one in maps.items()}
    assert rows_with_attention(unet.config) == set(seen.values())
    for rows in set(seen.values()):
        assert set(layers_with_rows(unet, rows)) == {n for n in seen if seen[n] == rows}
    with pytest.raises(ConfigError, match=r"maps of 16 rows; choose of: .*\d"):
        layers_with_rows(unet, 16)


def test_stable_diffusion_1_has_the_published_maps():
    """At 512 pixels: attention at 64, 32, 16 and 8 rows; SDXL's at 1024: 64 and 32."""
    down = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    sd1 = {
        "sample_size": 64, "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": down, "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    }  # fmt: skip
    assert rows_with_attention(sd1) == {64, 32, 16, 8}
    xl = {
        "sample_size": 128, "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2,
        "up_block_types": ["CrossAttnUpBlock2D"] * 2 + ["UpBlock2D"],
    }  # fmt: skip
    assert rows_with_attention(xl) == {64, 32}


def test_heads_of_all_layers_count_alike():
    maps = {"a": torch.zeros(1, 1, 2, 3), "b": torch.ones(1, 3, 2, 3)}
    torch.testing.assert_close(mean_over_heads(maps), torch.full((1, 2, 3), 0.75))


@pytest.mark.parametrize(
    ("cells", "latent", "grid"),
    [(64, (64, 64), (8, 8)), (60, (6, 10), (6, 10)), (15, (6, 10), (3, 5)), (6, (5, 9), (2, 3))],
)
def test_a_number_of_cells_is_a_grid(cells, latent, grid):
    assert grid_of(cells, latent) == grid
