"""Puts a LoRA adapter on linear layers of a denoiser."""

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear

from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor


class LoraLinear(torch.nn.Module):
    """A frozen linear layer with trainable factors: y = (W + B A) x + b; LoRA, arXiv 2106.09685.

    In float32 the sum is formed first, which is one product of tokens where B (A x) takes three,
    thin and slow ones. Half precision would round the update away with W, so there the factors are
    cast and stay apart.
    """

    def __init__(self, base: torch.nn.Linear, lora_a: "Tensor") -> None:
        """Wrap `base`, (out, in); `lora_a` is A's first value, (rank, in); B starts as zero."""
        super().__init__()
        self.base = base
        device = base.weight.device
        self.lora_a = torch.nn.Parameter(lora_a.to(device))
        self.lora_b = torch.nn.Parameter(torch.zeros(base.out_features, len(lora_a), device=device))

    def forward(self, inputs: "Tensor") -> "Tensor":
        """Map (…, in) to (…, out)."""
        weight, bias = self.base.weight, self.base.bias
        if weight.dtype == torch.float32:
            return linear(inputs, weight + self.lora_b @ self.lora_a, bias)
        low = linear(inputs, self.lora_a.to(inputs.dtype))  # (…, rank)
        return linear(inputs, weight, bias) + linear(low, self.lora_b.to(inputs.dtype))


def add_adapter(
    denoiser: Any, *, targets: tuple[str, ...], rank: int, seed: int
) -> dict[str, "torch.nn.Parameter"]:
    """Add a new LoRA adapter to a denoiser; mutates it, and it then computes the same as before.

    alpha = rank, so the scale is 1. A is drawn from N(0, 1/rank²) on the CPU, from the seed and the
    layer's name; B is zero.

    Args:
        denoiser: a frozen network without adapters.
        targets: ends of the names of its linear layers that get one.
        rank: of every layer.
        seed: of A.

    Returns:
        The float32 parameters by name, ``<module>.lora_A.weight`` (rank, in) and
        ``<module>.lora_B.weight`` (out, rank), sorted.

    Raises:
        ConfigError: a target fits no linear layer.
    """
    layers = {
        name: module
        for name, module in denoiser.named_modules()
        if isinstance(module, torch.nn.Linear) and _fits(name, targets)
    }
    for target in targets:
        if not any(_fits(name, (target,)) for name in layers):
            raise ConfigError(
                f"lora.targets: no linear layer of the {type(denoiser).__name__} ends in {target!r}"
            )
    found = {}
    for name, module in layers.items():
        generator = torch.Generator().manual_seed(derive_seed(seed, name))
        first = torch.randn(rank, module.in_features, generator=generator) / rank
        layer = LoraLinear(module, first)
        denoiser.set_submodule(name, layer)
        found[f"{name}.lora_A.weight"] = layer.lora_a
        found[f"{name}.lora_B.weight"] = layer.lora_b
    return {name: found[name] for name in sorted(found)}


def _fits(name: str, targets: tuple[str, ...]) -> bool:
    return f".{name}".endswith(tuple(f".{target}" for target in targets))
