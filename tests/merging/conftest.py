import pytest
import torch

from selma.merging.factors import LoraFactors


def random_factors(seed, *, out=6, inside=5, rank=2, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return LoraFactors(
        lora_a=torch.randn(rank, inside, generator=generator),
        lora_b=torch.randn(out, rank, generator=generator),
        scale=scale,
    )


@pytest.fixture
def factors():
    return random_factors
