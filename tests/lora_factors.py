"""Random factors of one layer, for tests."""

import torch

from selma.adapters.factors import LoraFactors


def random_factors(seed, *, out=6, inside=5, rank=2, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return LoraFactors(
        lora_a=torch.randn(rank, inside, generator=generator),
        lora_b=torch.randn(out, rank, generator=generator),
        scale=scale,
    )
