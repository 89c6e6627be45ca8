"""SynGen: a noun and its modifiers look at one place, no other word does; arXiv 2306.08877."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from selma.diffusion.samplers.guiding import Gaze, guided_steps, with_rows
from selma.diffusion.samplers.phrases import Phrases, TokenPhrase, phrase_tokens
from selma.diffusion.steps import Step, take_step
from selma.diffusion.tokens import word_tokens

if TYPE_CHECKING:
    from torch import Tensor

    from selma.diffusion.backbone import TextEncoder


@dataclass(frozen=True)
class SynGen:
    """Takes a step from latents that were moved along the gradient of `binding_loss`.

    Departs from the published code:

    1. A batch is drawn as its pictures would be one by one; there, all but the last are lost.
    2. The model sees latents scaled as the noise scheduler scales them.
    3. Words are found by their place in the prompt, so that a repeated word is no other.
    """

    gaze: Gaze
    encoder: "TextEncoder"
    phrases: Phrases
    step_size: float  # published: 20
    steps_share: float  # of the steps, the first; published: 25 of 50

    def __call__(self, step: Step) -> "Tensor":
        """Take a step; a picture without a noun and its modifier takes it as it is."""
        losses = {
            row: loss for row, prompt in enumerate(step.prompts) if (loss := self._loss(prompt))
        }
        if not losses or not guided_steps(self.steps_share, step):
            return take_step(step)
        rows = list(losses)
        latents = step.latents[rows]
        _, gradient = self.gaze.look(step, latents, rows, list(losses.values()))
        moved = with_rows(step.latents, rows, latents - self.step_size * gradient)
        return take_step(replace(step, latents=moved))

    def _loss(self, prompt: str) -> "partial[Tensor] | None":
        tokenizer = self.encoder.tokenizer
        found = phrase_tokens(tokenizer, prompt, self.phrases(prompt))
        groups = [group for group in found if group.modifiers]
        words = word_tokens(tokenizer, prompt)
        return partial(binding_loss, groups=groups, words=words) if groups else None


def binding_loss(maps: "Tensor", groups: Sequence[TokenPhrase], words: Sequence[int]) -> "Tensor":
    """Say how far modifiers look from their nouns, less how far both look from other words.

    L = Σ over a group's pairs (m, n) of D(m, n) − ½ · mean over u of (D(m, u) + D(n, u)), where u
    are the tokens of the prompt outside of the group. Of words of several tokens, the pair that is
    furthest apart counts. Source: sections 3.2 of the paper, equations of L_pos and L_neg.

    Args:
        maps: (tokens, rows, columns), positive.
        groups: nouns with at least one modifier.
        words: all tokens of the prompt, without start, end and padding.
    """
    import torch

    apart = divergences(maps[list(words)].flatten(1))
    at = {token: place for place, token in enumerate(words)}

    def furthest(one: Sequence[int], other: Sequence[int]) -> "Tensor":
        pairs = [apart[at[i], at[j]] for i, j in product(one, other)]
        return torch.stack(pairs).amax()

    terms = []
    for group in groups:
        own = {*group.noun, *(token for word in group.modifiers for token in word)}
        outside = [token for token in words if token not in own]
        for modifier in group.modifiers:
            terms.append(furthest(modifier, group.noun))
            terms += [
                -furthest(word, [token]) / (2 * len(outside))
                for token in outside
                for word in (modifier, group.noun)
            ]
    return torch.stack(terms).sum()


def divergences(maps: "Tensor") -> "Tensor":
    """Compute ½ [KL(p‖q) + KL(q‖p)] of each two maps (n, cells), each a distribution; (n, n)."""
    import torch

    shares = maps / maps.sum(dim=1, keepdim=True)
    logs = shares.clamp(min=torch.finfo(shares.dtype).eps).log()
    between = (shares[:, None] - shares[None]) * (logs[:, None] - logs[None])  # (n, n, cells)
    return between.sum(dim=2) / 2
