"""Draws with several experts that are never merged: LoRA Switch and LoRA Composite.

Source: Multi-LoRA Composition for Image Generation, arXiv 2402.16843, section 3.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from selma.diffusion.backbone import Backbone
from selma.diffusion.expert_checks import denoiser_layer
from selma.diffusion.loading import updated_weight
from selma.diffusion.steps import Step, take_step

if TYPE_CHECKING:
    import torch

    Updates = Iterable[tuple[str, torch.Tensor]]


class ExpertWeights:
    """The denoiser's adapted weights W + ΔWᵢ of each expert, to be put in place by reference.

    Each expert is what `add_updates` makes of it, to the bit, and a change of experts costs no
    arithmetic; the adapted layers are held once for each expert. What an expert does not change
    stays as in the backbone.
    """

    def __init__(
        self, backbone: Backbone, experts: Mapping[str, "Updates"], sources: Mapping[str, str]
    ) -> None:
        """Make the weights; the backbone stays as it is until `use`.

        Args:
            backbone: without an adapter.
            experts: by name, updates as of `add_updates`.
            sources: each expert's file, for errors.

        Raises:
            AdapterMismatchError: a layer is not the denoiser's, or has another shape.
        """
        self._layers: dict[str, Any] = {}
        own: dict[str, dict[str, torch.nn.Parameter]] = {}
        for expert, updates in sorted(experts.items()):
            own[expert] = {}
            for name, update in updates:
                layer = self._layers[name] = denoiser_layer(backbone, name, sources[expert])
                weight = updated_weight(name, layer, update, sources[expert])
                own[expert][name] = _parameter(weight)
        plain = {name: layer.weight for name, layer in self._layers.items()}
        self._weights = {expert: plain | weights for expert, weights in own.items()}

    def use(self, expert: str) -> None:
        """Put an expert's weights in place."""
        for name, weight in self._weights[expert].items():
            self._layers[name].weight = weight


def _parameter(weight: "torch.Tensor") -> "torch.nn.Parameter":
    import torch

    return torch.nn.Parameter(weight, requires_grad=False)


@dataclass(frozen=True)
class Switch:
    """LoRA Switch, section 3.1: one expert a step, in their order, each for `every_steps` steps."""

    weights: ExpertWeights
    order: Sequence[str]
    every_steps: int

    def __call__(self, step: Step) -> "torch.Tensor":
        """Take a step with the expert whose turn it is."""
        turn = step.number // self.every_steps % len(self.order)
        self.weights.use(self.order[turn])
        return take_step(step)


@dataclass(frozen=True)
class Composite:
    """LoRA Composite, section 3.2: the mean of all experts' guided predictions in each step.

    That is (1/k) Σᵢ [eᵢ(∅) + s (eᵢ(prompt) − eᵢ(∅))], for k times the price.
    """

    weights: ExpertWeights
    order: Sequence[str]

    def __call__(self, step: Step) -> "torch.Tensor":
        """Take a step by the mean."""
        shares = [(expert, 1 / len(self.order)) for expert in self.order]
        prediction = mean_prediction(self.weights, shares, lambda: step.predict(step.latents))
        return step.follow(prediction, step.latents)


class Experts(Protocol):
    """Experts of which one at a time is in place."""

    def use(self, expert: str) -> None:
        """Put an expert in place."""


def mean_prediction(
    experts: Experts, shares: Sequence[tuple[str, float]], predict: "Callable[[], torch.Tensor]"
) -> "torch.Tensor":
    """Compute Σᵢ wᵢ eᵢ, each expert's prediction by its share; the last stays in place."""
    import torch

    predictions = []
    for expert, share in shares:
        experts.use(expert)
        predictions.append(share * predict())
    return torch.stack(predictions).sum(0)
