"""Puts LoRA adapters on linear layers of a denoiser."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear

from selma.adapters.factors import Adapter
from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed
from selma.diffusion.backbone import Backbone
from selma.diffusion.expert_checks import linear_layer

if TYPE_CHECKING:
    from torch import Tensor


class LoraLinear(torch.nn.Module):
    """A frozen linear layer with trainable factors: y = (W + B A) x + b; LoRA, arXiv 2106.09685.

    With several adapters the batch is their items one after the other, as many of each, and every
    adapter sees its own alone: one batched product does for all.

    In float32 the sum is formed first, which is one product of tokens where B (A x) takes three,
    thin and slow ones. Half precision would round the update away with W, so there the factors are
    cast and stay apart.
    """

    def __init__(
        self, base: torch.nn.Linear, lora_a: "Tensor", adapters: int = 1,
        lora_b: "Tensor | None" = None,
    ) -> None:  # fmt: skip
        """Wrap `base`, (out, in); every A starts as `lora_a`, (rank, in), B as `lora_b`, or 0."""
        super().__init__()
        self.base, self.enabled = base, True
        if lora_b is None:
            lora_b = torch.zeros(base.out_features, len(lora_a))
        first_a, first_b = lora_a.to(base.weight.device), lora_b.to(base.weight.device)
        self.lora_a = torch.nn.ParameterList([first_a.clone() for _ in range(adapters)])
        self.lora_b = torch.nn.ParameterList([first_b.clone() for _ in range(adapters)])

    def forward(self, inputs: "Tensor") -> "Tensor":
        """Map (N, …, in) to (N, …, out)."""
        weight, bias = self.base.weight, self.base.bias
        if not self.enabled:
            return linear(inputs, weight, bias)
        if len(self.lora_a) > 1:
            return self._stacked(inputs)
        lora_a, lora_b = self.lora_a[0], self.lora_b[0]
        if weight.dtype == torch.float32:
            return linear(inputs, weight + lora_b @ lora_a, bias)
        low = linear(inputs, lora_a.to(inputs.dtype))  # (…, rank)
        return linear(inputs, weight, bias) + linear(low, lora_b.to(inputs.dtype))

    def _stacked(self, inputs: "Tensor") -> "Tensor":
        weight, bias = self.base.weight, self.base.bias
        lora_a = torch.stack([*self.lora_a]).to(inputs.dtype)  # (S, rank, in)
        lora_b = torch.stack([*self.lora_b]).to(inputs.dtype)  # (S, out, rank)
        own = inputs.reshape(len(lora_a), -1, inputs.shape[-1])  # (S, tokens, in)
        if weight.dtype == torch.float32:
            update = torch.baddbmm(weight.expand(len(lora_a), -1, -1), lora_b, lora_a)
            outputs = torch.bmm(own, update.mT)
            outputs = outputs if bias is None else outputs + bias
        else:
            low = torch.bmm(own, lora_a.mT)  # (S, tokens, rank)
            outputs = torch.baddbmm(linear(own, weight, bias), low, lora_b.mT)
        return outputs.reshape(*inputs.shape[:-1], -1)


def put_adapter(
    backbone: Backbone, adapter: Adapter, source: str
) -> tuple[dict[str, LoraLinear], dict[str, "torch.nn.Parameter"]]:
    """Put an adapter on a backbone's denoiser to be trained on; mutates it.

    Args:
        backbone: frozen and without an adapter.
        adapter: by layer, ``unet.mid_block…``; its scale is folded into B.
        source: its file, for errors.

    Returns:
        The layers as they are named in the adapter, and their parameters as in `add_adapters`.

    Raises:
        AdapterMismatchError: a layer is not the denoiser's, or not linear, or of another shape.
    """
    layers: dict[str, LoraLinear] = {}
    found: dict[str, torch.nn.Parameter] = {}
    for name, factors in sorted(adapter.items()):
        base = linear_layer(backbone, name, source, [factors.shape])
        lora_b = factors.scale * factors.lora_b
        layer = layers[name] = LoraLinear(base, factors.lora_a, lora_b=lora_b)
        path = name.removeprefix(f"{backbone.component}.")
        backbone.denoiser.set_submodule(path, layer)
        found |= {
            f"{path}.lora_A.weight": layer.lora_a[0], f"{path}.lora_B.weight": layer.lora_b[0]
        }  # fmt: skip
    return layers, found


@contextlib.contextmanager
def without_adapters(denoiser: Any) -> Iterator[None]:
    """Let a denoiser compute meanwhile as it did before it had adapters."""
    layers = [module for module in denoiser.modules() if isinstance(module, LoraLinear)]
    for layer in layers:
        layer.enabled = False
    try:
        yield
    finally:
        for layer in layers:
            layer.enabled = True


def add_adapters(
    denoiser: Any, names: Sequence[str], *, targets: tuple[str, ...], rank: int, seed: int
) -> dict[str, dict[str, "torch.nn.Parameter"]]:
    """Add new LoRA adapters to a denoiser; mutates it, and it then computes the same as before.

    alpha = rank, so the scale is 1. A is drawn from N(0, 1/rank²) on the CPU, from the seed and the
    layer's name, alike for all; B is zero.

    Args:
        denoiser: a frozen network without adapters.
        names: of the adapters; with several, a batch is as `LoraLinear` says.
        targets: ends of the names of its linear layers that get them.
        rank: of every layer.
        seed: of A.

    Returns:
        Each adapter's float32 parameters by name, ``<module>.lora_A.weight`` (rank, in) and
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
    found: dict[str, dict[str, torch.nn.Parameter]] = {adapter: {} for adapter in names}
    for name, module in sorted(layers.items()):
        generator = torch.Generator().manual_seed(derive_seed(seed, name))
        first = torch.randn(rank, module.in_features, generator=generator) / rank
        layer = LoraLinear(module, first, len(names))
        denoiser.set_submodule(name, layer)
        for own, lora_a, lora_b in zip(found.values(), layer.lora_a, layer.lora_b, strict=True):
            own |= {f"{name}.lora_A.weight": lora_a, f"{name}.lora_B.weight": lora_b}
    return found


def _fits(name: str, targets: tuple[str, ...]) -> bool:
    return f".{name}".endswith(tuple(f".{target}" for target in targets))
