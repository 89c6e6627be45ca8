"""MoE-LoRA: experts that stay apart in a layer, and a gate that weighs them token by token."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear

from selma.core.errors import AdapterMismatchError
from selma.diffusion.backbone import Backbone
from selma.diffusion.expert_checks import check_router, linear_layer

if TYPE_CHECKING:
    from torch import Tensor

Factors = tuple["Tensor", "Tensor"]  # A (r, in), B (out, r): ΔW = B A


class RoutedLinear(torch.nn.Module):
    """A frozen linear layer with N frozen experts: y = W x + b + Σᵢ gᵢ(x) · Bᵢ Aᵢ x.

    g = softmax(x W_g) over the experts, for each token alone; SELMA, arXiv 2403.06952, appendix E.
    Below `top_k` experts the others' weight is 0 and the softmax is over these; experts that are
    level with the last of them stay in, so that a gate of zeros is the uniform mean for every k.

    The experts are stacked, R = Σ rᵢ: one product with all Aᵢ, one scaling, one with all Bᵢ. The
    gate is float32 and so is its softmax, whatever the layer computes in.
    """

    stacked_a: "Tensor"
    stacked_b: "Tensor"
    expert_of: "Tensor"

    def __init__(
        self, base: torch.nn.Linear, experts: Sequence[Factors | None], gate: "Tensor", top_k: int
    ) -> None:
        """Wrap `base`, (out, in).

        Args:
            base: the layer.
            experts: A (rᵢ, in) and B (out, rᵢ) of each; None: it leaves this layer as it is.
            gate: the first value of W_g, transposed, (N, in).
            top_k: how many experts a token may have.
        """
        super().__init__()
        self.base, self.top_k = base, top_k
        weight = base.weight
        ranks = [0 if factors is None else len(factors[0]) for factors in experts]
        known = [factors for factors in experts if factors is not None]
        self.register_buffer("stacked_a", torch.cat([a for a, _ in known]).to(weight))  # (R, in)
        self.register_buffer("stacked_b", torch.cat([b for _, b in known], 1).to(weight))  # (out,R)
        expert_of = torch.arange(len(experts)).repeat_interleave(torch.tensor(ranks))  # (R,)
        self.register_buffer("expert_of", expert_of.to(weight.device))
        self.gate = torch.nn.Parameter(gate.to(weight.device, torch.float32, copy=True))

    def forward(self, inputs: "Tensor") -> "Tensor":
        """Map (N, …, in) to (N, …, out)."""
        shares = self.shares(inputs)[..., self.expert_of]  # (…, R)
        low = linear(inputs, self.stacked_a) * shares.to(inputs.dtype)  # (…, R)
        outputs: Tensor = self.base(inputs) + linear(low, self.stacked_b)
        return outputs

    def shares(self, inputs: "Tensor") -> "Tensor":
        """Compute g, each token's share of each expert, (…, experts), float32."""
        logits = linear(inputs.float(), self.gate)
        if self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        return logits.softmax(-1)


def add_router(
    backbone: Backbone, layers: Mapping[str, Mapping[str, Factors]], experts: Sequence[str], *,
    top_k: int, gates: Mapping[str, "Tensor"] | None, source: str,
) -> dict[str, torch.nn.Parameter]:  # fmt: skip
    """Put experts and their gates on a backbone's denoiser; mutates it.

    Args:
        backbone: frozen, without an adapter.
        layers: the experts' factors, ``unet.mid_block…`` → expert → A and B, with scale 1; an
            expert that is not there leaves the layer as it is.
        experts: their names, in the order of the gates' rows.
        top_k: how many experts a token may have.
        gates: W_g, transposed, (experts, in), by layer; None: zeros, the uniform mean.
        source: the file, or what else errors shall name.

    Returns:
        The gates, float32, by layer, sorted.

    Raises:
        ConfigError: top_k is no number of experts, or an expert is named twice.
        AdapterMismatchError: a layer is not the denoiser's, or not linear, or of another shape.
    """
    check_router(experts, top_k)
    found: dict[str, torch.nn.Parameter] = {}
    for name in sorted(layers):
        stacked = [layers[name].get(expert) for expert in experts]
        shapes = [(len(pair[1]), pair[0].shape[1]) for pair in stacked if pair is not None]
        base = linear_layer(backbone, name, source, shapes)
        gate = torch.zeros(len(experts), base.in_features) if gates is None else gates[name]
        if gate.shape != (wanted := (len(experts), base.in_features)):
            raise AdapterMismatchError(
                f"{source}: {name}: its gate is {tuple(gate.shape)}, expected {wanted}: a row for "
                "each expert"
            )
        layer = RoutedLinear(base, stacked, gate, top_k)
        backbone.denoiser.set_submodule(name.removeprefix(f"{backbone.component}."), layer)
        found[name] = layer.gate
    return found
