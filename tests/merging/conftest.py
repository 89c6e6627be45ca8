import pytest
import torch

from selma.merging.factors import LoraFactors
from selma.merging.merge import Settings


def random_factors(seed, *, out=6, inside=5, rank=2, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return LoraFactors(
        lora_a=torch.randn(rank, inside, generator=generator),
        lora_b=torch.randn(out, rank, generator=generator),
        scale=scale,
    )


def settings_of(weights, **changes):
    plain = {
        "method": "delta_mean", "scale": 1.0, "rank": None, "error_max": None, "match_norm": False,
        "parameters": {}, "dtype": "float32", "seed": 0,
    }  # fmt: skip
    return Settings(weights=weights, **{**plain, **changes})


@pytest.fixture
def factors():
    return random_factors


@pytest.fixture
def settings():
    return settings_of
