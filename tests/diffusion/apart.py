"""Random experts on a tiny backbone, and the pictures that it draws."""

import numpy as np
import torch

from selma.diffusion.drawing import batch_drawer
from selma.diffusion.requests import make_requests

PROMPTS = {"a": "a red cat", "b": "dog", "c": "the long blue boat"}
REQUESTS = make_requests(PROMPTS, 2, 0, "samples")
HOW = {"guidance_scale": 3.0, "inference_steps": 5}


def linear_layers(backbone):
    """The attention's projections, as adapters name them."""
    return {
        f"{backbone.component}.{name}": layer
        for name, layer in backbone.denoiser.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.endswith(backbone.targets)
    }


def random_experts(backbone, names=("count", "common", "paragraph"), strength=0.1):
    """A rank-2 or 3 expert of each name on all projections: layer → expert → A and B."""
    generator = torch.Generator().manual_seed(5)
    layers = {}
    for layer, module in linear_layers(backbone).items():
        layers[layer] = {}
        for place, name in enumerate(names):
            rank = 2 + place % 2
            lora_a = torch.randn(rank, module.in_features, generator=generator)
            lora_b = strength * torch.randn(module.out_features, rank, generator=generator)
            layers[layer][name] = (lora_a, lora_b)
    return layers


def dense(layers, weights):
    """The update Σ wᵢ Bᵢ Aᵢ of each layer, in float64."""
    for layer, experts in layers.items():
        terms = [w * (experts[n][1].double() @ experts[n][0].double()) for n, w in weights.items()]
        yield layer, sum(terms)


def pictures(backbone, *, batch_size=6, **changes):
    """The pictures of `REQUESTS` as integers."""
    draw = batch_drawer(backbone, **{**HOW, **changes})
    batches = [REQUESTS[k : k + batch_size] for k in range(0, len(REQUESTS), batch_size)]
    return np.stack([one for batch in batches for one in draw(batch)]).astype(int)


def difference(one, other):
    return np.abs(one - other).max()
