"""Random adapters, of every kind that a layout can say, come back as they were."""

import random

import pytest
import torch

from selma.adapters.factors import LoraFactors
from selma.adapters.files import read_file
from selma.adapters.formats.architecture import layers_of
from selma.adapters.formats.writing import write_diffusers, write_kohya, write_peft

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LAYOUTS = {
    "diffusers": write_diffusers,
    "kohya": write_kohya,
    "sgm": lambda *given: write_kohya(*given, sgm=True),
    "peft": write_peft,
}


def random_adapter(seed, base):
    """Up to 12 of a base's layers with weights of its shapes, any rank and scale."""
    choice, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    shapes = {name: shape for name, shape in layers_of(base).items() if max(shape) < 1000}
    adapter = {}
    for name in choice.sample(sorted(shapes), choice.randint(1, 12)):
        out, inside, *kernel = shapes[name]
        rank = choice.choice((1, 2, 4, 7, 32))
        flat = inside * (kernel[0] * kernel[1] if kernel else 1)
        a = torch.randn(rank, flat, generator=generator) * 2.0 ** choice.randint(-6, 2)
        b = torch.randn(out, rank, generator=generator) * 2.0 ** choice.randint(-6, 2)
        scale = choice.choice((1.0, 0.5, 3.0, -0.25, 1e-3))
        adapter[name] = LoraFactors(a, b, scale, tuple(kernel) or None)
    return adapter


def path_of(folder, layout):
    return folder / (layout if layout == "peft" else f"{layout}.safetensors")


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reading_what_was_written_gives_the_adapter(tmp_path, layout, seed):
    base = "sdxl" if layout == "sgm" else ("sd1", "sd2", "sdxl")[seed % 3]
    dtype, tolerance = DTYPES[seed % 3], (1e-5, 4e-3, 3e-2)[seed % 3]
    adapter, path = random_adapter(seed, base), path_of(tmp_path, layout)
    LAYOUTS[layout](path, adapter, {"name": "x"}, dtype)
    found = read_file(path)
    assert set(found.adapter) == set(adapter) and found.dtype == dtype
    for name, one in adapter.items():
        got, wanted = found.adapter[name], one.delta()
        assert (got.rank, got.weight_shape) == (one.rank, one.weight_shape)
        assert (got.delta() - wanted).norm() <= tolerance * wanted.norm()


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_read_and_written_again_has_the_same_bytes(tmp_path, layout, seed):
    adapter = random_adapter(seed, "sdxl")
    bytes_of = []
    for turn in "12":
        path = path_of(tmp_path / turn, layout)
        LAYOUTS[layout](path, adapter, {"name": "x"}, torch.float32)
        adapter = read_file(path).adapter
        files = sorted(one for one in (tmp_path / turn).rglob("*") if one.is_file())
        bytes_of.append([file.read_bytes() for file in files])
    assert bytes_of[0] == bytes_of[1]
