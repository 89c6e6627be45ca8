"""StructureDiffusion: values also of each noun phrase by itself; arXiv 2212.05032."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from selma.diffusion.backbone import Backbone
from selma.diffusion.samplers.phrases import Phrases
from selma.diffusion.steps import Step, take_step
from selma.diffusion.text_layers import Project, replaced_forward, text_layers
from selma.diffusion.tokens import tokens_of

if TYPE_CHECKING:
    from torch import Tensor

VALUES = ("attn2.to_v",)


class StructureDiffusion:
    """Takes a step in which each cross-attention averages its outputs over copies of the text.

    A copy has the states of one noun phrase, read by itself, in the places that the phrase has in
    the prompt; the prompt as it is is a copy too. Keys are the prompt's, so all copies share one
    attention map A, and the mean of A Vᵢ is A times the mean of Vᵢ: only the values change. Source:
    sections 3.2 and 3.3 of the paper, one key and several values.

    Departs from the published code: phrases are base noun phrases, without those that hold others;
    any batch, family with cross-attention and noise scheduler will do.
    """

    def __init__(self, backbone: Backbone, phrases: Phrases) -> None:
        """Take the parts; nothing is read before the first step."""
        self._backbone, self._phrases = backbone, phrases
        self._layers = text_layers(backbone, VALUES)
        self._copies = lru_cache(maxsize=1)(self._read)  # of the batch under way

    def __call__(self, step: Step) -> "Tensor":
        """Take a step; a picture without a phrase of several words takes it as it is."""
        copies = self._copies(tuple(step.prompts))
        if copies is None:
            return take_step(step)
        with replaced_forward(self._layers, copies.averaged):
            return take_step(step)

    def _read(self, prompts: tuple[str, ...]) -> "Copies | None":
        """Read the prompts that have phrases, and the phrases, to copies of their states."""
        import torch

        found = {prompt: self._places(prompt) for prompt in dict.fromkeys(prompts)}
        rows = tuple(row for row, prompt in enumerate(prompts) if found[prompt])
        if not rows:
            return None
        texts = [text for row in rows for text in (prompts[row], *found[prompts[row]])]
        states = iter(self._backbone.encode_prompts(texts)["text"])
        parts = []
        for row in rows:
            places = found[prompts[row]].values()
            parts.append(copies_of(next(states), [(next(states), at) for at in places]))
        numbers = tuple(len(part) for part in parts)
        return Copies(len(prompts), rows, numbers, torch.cat(parts))

    def _places(self, prompt: str) -> dict[str, list[tuple[int, ...]]]:
        """Find phrases of several words, and the tokens of each of the places where they stand."""
        tokenizer = self._backbone.encoders[0].tokenizer
        spans = [phrase.whole for phrase in self._phrases(prompt)]
        found: dict[str, list[tuple[int, ...]]] = {}
        for span, at in zip(spans, tokens_of(tokenizer, prompt, spans), strict=True):
            text = prompt[span.start : span.end]
            if at and " " in text and text != prompt:
                found.setdefault(text, []).append(at)
        return found


def copies_of(
    whole: "Tensor", phrases: "Sequence[tuple[Tensor, Sequence[Sequence[int]]]]"
) -> "Tensor":
    """Copy a prompt's states once as they are, and once for each place of a phrase.

    Args:
        whole: the prompt's states, (tokens, width).
        phrases: each one's states, (tokens, width), of which the first is the start token's; and
            the prompt's tokens at each place where it stands.

    Returns:
        (1 + places, tokens, width).
    """
    import torch

    copies = [whole]
    for states, places in phrases:
        for at in places:
            copy = whole.clone()
            copy[list(at)] = states[1 : 1 + len(at)]
            copies.append(copy)
    return torch.stack(copies)


@dataclass(frozen=True)
class Copies:
    """The copies of a batch's prompts."""

    pictures: int  # N
    rows: tuple[int, ...]  # the pictures that have phrases
    numbers: Sequence[int]  # of copies of each of them
    states: "Tensor"  # (Σ numbers, tokens, width)

    def averaged(self, project: Project, layer: Any) -> Project:
        """Make a projection to values that are means over the copies.

        The last N rows of the text that it gets are the prompts'; those before, without a prompt,
        stay as they are.
        """
        import torch

        def values(text: "Tensor") -> "Tensor":
            result = project(text).clone()
            first = len(text) - self.pictures
            own = torch.split(project(self.states), list(self.numbers))
            for row, each in zip(self.rows, own, strict=True):
                result[first + row] = each.mean(dim=0)
            return result

        return values
