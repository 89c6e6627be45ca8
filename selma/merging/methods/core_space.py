"""Core Space: any method, on small lossless images of the experts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from selma.adapters.factors import LoraFactors
from selma.adapters.linear_algebra import product
from selma.merging.lowrank import joint_svd
from selma.merging.methods.elementwise import Experts, Weights

if TYPE_CHECKING:
    import torch


def core_space(
    experts: Experts, weights: Weights, *, inner: Mapping[str, Any],
    merge_in_core: Callable[[Experts, Weights, Mapping[str, Any]], "LoraFactors | torch.Tensor"],
) -> LoraFactors:  # fmt: skip
    """Merge so that ΔW = U · inner(Uᵀ ΔW₁ V, …) · Vᵀ: any method, on the experts' small images.

    U and V span what all experts read and write, so the images lose nothing. `inner` is a method's
    name and parameters, {method: ties, density: 0.2}.

    Departs from Core Space (arXiv 2509.17786, section 3.2): its bases are of the stacked factors B
    and A, ours of the stacked updates, so that the result does not depend on how an update is split
    into factors.
    """
    names = sorted(experts)
    layers = [experts[name] for name in names]
    u, _, _ = joint_svd(layers)  # (out, p)
    v, _, _ = joint_svd([_transposed(one) for one in layers])  # (in, q)
    images = {
        name: LoraFactors(
            product(experts[name].lora_a.double(), v),
            product(u.T, experts[name].lora_b.double()),
            experts[name].scale,
        )
        for name in names
    }
    core = merge_in_core(images, weights, inner)
    if isinstance(core, LoraFactors):
        return replace(
            core,
            lora_a=product(core.lora_a.double(), v.T),
            lora_b=product(u, core.lora_b.double()),
        )
    return LoraFactors(v.T.contiguous(), product(u, core))


def _transposed(layer: LoraFactors) -> LoraFactors:
    return LoraFactors(layer.lora_b.T, layer.lora_a.T, layer.scale)
