"""Experts that teach a student whose adapter has the same layers: who teaches what, one by one."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from selma.adapters.factors import Adapter
from selma.core.errors import AdapterMismatchError

if TYPE_CHECKING:
    from selma.training.adapters import LoraLinear

Shares = Sequence[tuple[str, float]]  # experts, and what each counts for; the sum is 1
Lesson = tuple[list[int], Shares]  # rows of a batch, and who teaches them


class Teachers:
    """Experts' factors, to be put in place of a student's by reference.

    So an expert computes what a student with its factors does, to the bit.
    """

    def __init__(
        self, layers: Mapping[str, "LoraLinear"], experts: Mapping[str, Adapter],
        sources: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Prepare the factors; the student's stay in place until `use`.

        Args:
            layers: the student's, by the names that adapters give them.
            experts: by name; a layer that an expert lacks is the backbone's own for it.
            sources: each expert's file, for errors.

        Raises:
            AdapterMismatchError: an expert changes a layer that the student has not, or of another
                shape.
        """
        self._layers = layers
        self._own = {name: (layer.lora_a, layer.lora_b) for name, layer in layers.items()}
        self._factors = {}
        for expert, adapter in experts.items():
            _check(layers, adapter, sources[expert])
            self._factors[expert] = {
                name: _frozen(layer, adapter, name) for name, layer in layers.items()
            }

    def use(self, expert: str) -> None:
        """Put an expert's factors in place."""
        self._put(self._factors[expert])

    def leave(self) -> None:
        """Put the student's own factors in place again."""
        self._put(self._own)

    def _put(self, factors: Mapping[str, Sequence[torch.nn.ParameterList]]) -> None:
        for name, (lora_a, lora_b) in factors.items():
            self._layers[name].lora_a, self._layers[name].lora_b = lora_a, lora_b


def _check(layers: Mapping[str, "LoraLinear"], adapter: Adapter, source: str) -> None:
    for name, factors in sorted(adapter.items()):
        if name not in layers:
            raise AdapterMismatchError(
                f"{source}: {name}: is changed by this expert and not by the student; start from "
                "a merge of all the teachers"
            )
        if factors.shape != (wanted := tuple(layers[name].base.weight.shape)):
            raise AdapterMismatchError(
                f"{source}: {name}: update is {factors.shape}, the base model's weight is "
                f"{wanted}; the adapter belongs to another base model"
            )


def _frozen(
    layer: "LoraLinear", adapter: Adapter, name: str
) -> tuple[torch.nn.ParameterList, torch.nn.ParameterList]:
    weight = layer.base.weight
    if name in adapter:
        lora_a, lora_b = adapter[name].lora_a, adapter[name].scale * adapter[name].lora_b
    else:
        lora_a, lora_b = torch.zeros(1, weight.shape[1]), torch.zeros(weight.shape[0], 1)
    lists = [torch.nn.ParameterList([one.to(weight.device)]) for one in (lora_a, lora_b)]
    return lists[0].requires_grad_(False), lists[1].requires_grad_(False)


def composite(skills: Sequence[str], weights: Mapping[str, float]) -> list[Lesson]:
    """All experts teach every prompt, by their weights; LoRA Composite, arXiv 2402.16843."""
    total = sum(weights.values())
    shares = [(expert, weight / total) for expert, weight in sorted(weights.items())]
    return [(list(range(len(skills))), shares)]


def own_skill(skills: Sequence[str], weights: Mapping[str, float]) -> list[Lesson]:
    """Each prompt is taught by its own skill's expert alone."""
    return [
        ([row for row, own in enumerate(skills) if own == skill], [(skill, 1.0)])
        for skill in sorted(set(skills))
    ]


# Kind of teacher → of a batch's skills and the experts' weights, who teaches which rows.
TEACHERS: dict[str, Callable[[Sequence[str], Mapping[str, float]], list[Lesson]]] = {
    "composite": composite, "skill": own_skill,
}  # fmt: skip
