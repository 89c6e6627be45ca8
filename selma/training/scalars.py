"""Learns how much of each expert each layer takes: LoRA soups' CAT, on the denoising loss."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import linear

from selma.core.errors import AdapterMismatchError
from selma.diffusion.backbone import Backbone
from selma.training.experts import checkpointing, encode_sets
from selma.training.trainer import Trained, train_groups

if TYPE_CHECKING:
    from torch import Tensor

Factors = tuple["Tensor", "Tensor"]  # A (r, in), B (out, r) with its scale


class WeighedLinear(torch.nn.Module):
    """A frozen linear layer with frozen updates under learned weights: y = (W + Σ aₜ Bₜ Aₜ) x + b.

    LoRA soups' CAT, arXiv 2410.13025, equation 5. All experts' factors are two matrices side by
    side, so an update of N experts is one product. As in `LoraLinear`, in float32 the sum is formed
    first, in half precision the factors stay apart.
    """

    def __init__(self, base: torch.nn.Linear, updates: Mapping[str, Factors | None]) -> None:
        """Wrap `base`, (out, in); an expert without factors here counts as zero."""
        super().__init__()
        self.base = base
        device, found = base.weight.device, [one for one in updates.values() if one is not None]
        ranks = [0 if one is None else len(one[0]) for one in updates.values()]
        owner = torch.zeros(len(ranks), sum(ranks), device=device)  # (N, Σ r): whose a column is
        for row, end in enumerate(torch.tensor(ranks).cumsum(0).tolist()):
            owner[row, end - ranks[row] : end] = 1
        self.lora_a = torch.cat([a for a, _ in found]).to(device)  # (Σ r, in)
        self.lora_b = torch.cat([b for _, b in found], dim=1).to(device)  # (out, Σ r)
        self.owner = owner
        self.weights = torch.nn.Parameter(torch.full((len(ranks),), 1 / len(ranks), device=device))

    def forward(self, inputs: "Tensor") -> "Tensor":
        """Map (N, …, in) to (N, …, out)."""
        weight, bias = self.base.weight, self.base.bias
        lora_b = self.lora_b * (self.weights @ self.owner)  # (out, Σ r)
        if weight.dtype == torch.float32:
            return linear(inputs, weight + lora_b @ self.lora_a, bias)
        low = linear(inputs, self.lora_a.to(inputs.dtype))  # (…, Σ r)
        return linear(inputs, weight, bias) + linear(low, lora_b.to(inputs.dtype))


def add_weights(
    denoiser: Any, updates: Mapping[str, Mapping[str, Factors]]
) -> dict[str, "torch.nn.Parameter"]:
    """Put experts' updates on a denoiser under weights that start as their mean; mutates it.

    Args:
        denoiser: a frozen network without adapters.
        updates: per skill, then layer of the denoiser; skills without a layer count as zero there.

    Returns:
        Each layer's weights (N,), float32, in the order of the skills' names, sorted by layer.

    Raises:
        AdapterMismatchError: a layer is not there, is not linear, or has another shape.
    """
    skills = sorted(updates)
    found = {}
    for layer in sorted(set().union(*updates.values())):
        own = {skill: updates[skill].get(layer) for skill in skills}
        weighed = WeighedLinear(_linear(denoiser, layer, own), own)
        denoiser.set_submodule(layer, weighed)
        found[layer] = weighed.weights
    return found


def _linear(denoiser: Any, layer: str, updates: Mapping[str, Factors | None]) -> "torch.nn.Linear":
    module = dict(denoiser.named_modules()).get(layer)
    if not isinstance(module, torch.nn.Linear):
        got = "no such layer" if module is None else f"a {type(module).__name__}"
        raise AdapterMismatchError(
            f"{layer}: is {got} in the base model; weights are learned for the denoiser's linear "
            "layers"
        )
    for skill, factors in updates.items():
        if factors is None:
            continue
        got_shape = (factors[1].shape[0], factors[0].shape[1])
        if got_shape != (wanted := (module.out_features, module.in_features)):
            raise AdapterMismatchError(
                f"{layer}: update of expert {skill!r} is {got_shape}, the base model's weight is "
                f"{wanted}; the adapter belongs to another base model"
            )
    return module


def learn_weights(
    images: Iterable[Mapping[str, Any]], backbone: Backbone, directory: Path, *,
    updates: Mapping[str, Mapping[str, Factors]], name: str, flip: bool,
    checkpoint_every_steps: int, **settings: Any,
) -> tuple[dict[str, dict[str, float]], Trained]:  # fmt: skip
    """Learn a weight for each layer and expert on pictures of all skills; mutates the denoiser.

    Args:
        images: rows of the skills' images tables, in any order.
        backbone: frozen and without an adapter.
        directory: keeps the encoded pictures and the progress.
        updates: see `add_weights`.
        name: of the training; all that is drawn depends on it.
        flip: as the other `settings`, see `train_groups`.
        checkpoint_every_steps: how often the progress is kept.
        settings: the other keyword arguments of `train_groups`.

    Returns:
        The weights per layer and skill, and the training.

    Raises:
        AdapterMismatchError: as `add_weights`.
        RecordError, SelmaError: as `train_groups` and `encode_examples`.
    """
    examples = encode_sets({name: images}, backbone, directory, flip)
    groups = {name: add_weights(backbone.denoiser, updates)}
    kept = checkpointing(directory, checkpoint_every_steps)
    trained = train_groups(
        backbone, groups, examples, flip=flip, checkpointing=kept, **settings
    )[name]  # fmt: skip
    skills = sorted(updates)
    learned = {
        layer: dict(zip(skills, weights.tolist(), strict=True))
        for layer, weights in trained.tensors.items()
    }
    return learned, trained
