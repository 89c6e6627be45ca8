"""Trains the pocket world's preference scorers: two small CLIPs and a small BLIP reward model.

Each learns in two phases, as its model did: pre-training on captioned pictures, then the published
loss on rankings. Where this departs from the papers:

1. Pre-training batches hold twins, captioned pictures that differ in one fact, so that a model this
   small learns to look closely; and it also learns to name what it sees (see `naming`).
2. The vision tower starts as a convolution does (see `neighbours`).
3. The reward model is pre-trained to tell a caption's own picture from others, not to write; and
   in BLIP's image-text contrast the towers' first states are compared as they are, at a fixed
   temperature.
4. All weights are trained, without dropout, so that a step depends on its number alone.

Sources: PickScore, arXiv 2305.01569; HPS v2, arXiv 2306.09341; ImageReward, arXiv 2304.05977.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selma.core.seeds import derive_seed
from selma.foundation.naming import build_heads, naming_loss
from selma.foundation.preference_pairs import PreferenceSet, TwinSet
from selma.foundation.scorer_models import WIDTH, Indices, Scorer, TokenTable, to_pixels

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

Scores = NDArray[np.float64]
SCORE_BATCH = 128  # rankings at a time; does not change a score beyond rounding


@dataclass(frozen=True)
class Accuracy:
    """Share of `n` pairs whose better picture scores higher (a tie does not), Wilson's 95 %."""

    n: int
    accuracy: float
    low: float
    high: float


def draw_batch(number: int, batch_size: int, *names: str | int, seed: int) -> Indices:
    """Draw different items of a data set for one step, which `names` identify."""
    generator = np.random.default_rng(derive_seed(seed, "scorer-batch", *names))
    return generator.choice(number, size=min(batch_size, number), replace=False)


def pretraining(
    scorer: Scorer, twins: TwinSet, tokens: TokenTable, batch_size: int, seed: int
) -> tuple[Callable[[int], "Tensor"], dict[str, "Parameter"]]:
    """Make the pre-training loss of each step, over `batch_size` pairs of twins, and its weights.

    These are the scorer's and those of the heads that name things.
    """
    import torch

    torch.manual_seed(derive_seed(seed, "naming-heads"))
    heads = build_heads(WIDTH, scorer.feature_width)

    def loss_at(step: int) -> "Tensor":
        pairs = draw_batch(len(twins.captions) // 2, batch_size, "twins", step, seed=seed)
        rows = np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel()  # (2B,)
        pixels = to_pixels(twins.pictures[rows])
        out = scorer.pretraining_loss(pixels, *tokens.rows(rows))
        states = out.patches, out.pictures, out.captions
        return out.loss + naming_loss(heads, *states, twins.labels.rows(rows))

    of_heads = {f"heads.{name}": value for name, value in heads.named_parameters()}
    return loss_at, scorer.parameters() | of_heads


def preference_loss_at(
    scorer: Scorer, rankings: PreferenceSet, tokens: TokenTable, batch_size: int, seed: int
) -> Callable[[int], "Tensor"]:
    """Make the preference loss of each step, over all pairs of `batch_size` rankings.

    It is the cross-entropy of the annotators' choice (a tie counts half for each) with the softmax
    over the two pictures' scores: PickScore's and HPS v2's loss up to a constant, and for choices
    without ties ImageReward's −log σ(better − worse).
    """
    import torch

    def loss_at(step: int) -> "Tensor":
        chosen = draw_batch(len(rankings.prompts), batch_size, "rankings", step, seed=seed)
        rows, text_of = pictures_of(rankings, chosen)
        first, second = pairs_of(text_of)
        scores = scorer.scores(to_pixels(rankings.pictures[rows]), *tokens.rows(chosen), text_of)
        ranks = rankings.ranks[rows]
        choice = (1 + np.sign(ranks[second] - ranks[first])) / 2  # 1: first, 0.5: tie, 0: second
        return torch.nn.functional.binary_cross_entropy_with_logits(
            scores[torch.from_numpy(first)] - scores[torch.from_numpy(second)],
            torch.from_numpy(choice).float(),
        )

    return loss_at


def pictures_of(rankings: PreferenceSet, chosen: Indices) -> tuple[Indices, Indices]:
    """Find the pictures of some rankings, (M,), and which ranking each is of, (M,)."""
    spans = [np.arange(rankings.starts[r], rankings.starts[r + 1]) for r in chosen]
    return np.concatenate(spans), np.repeat(np.arange(len(spans)), [len(span) for span in spans])


def pairs_of(text_of: Indices) -> tuple[Indices, Indices]:
    """Pair all places with the same text, the truly better picture first."""
    first, second = np.nonzero(np.triu(text_of[:, None] == text_of[None, :], k=1))
    return first, second


def score_rankings(scorer: Scorer, rankings: PreferenceSet, tokens: TokenTable) -> Scores:
    """Score all pictures of a set, (P,)."""
    import torch

    parts = []
    everything = np.arange(len(rankings.prompts))
    for chosen in np.split(everything, everything[SCORE_BATCH::SCORE_BATCH]):
        rows, text_of = pictures_of(rankings, chosen)
        with torch.inference_mode():
            pixels = to_pixels(rankings.pictures[rows])
            parts.append(scorer.scores(pixels, *tokens.rows(chosen), text_of).double().numpy())
    return np.concatenate(parts)


def pair_accuracies(rankings: PreferenceSet, scores: Scores) -> dict[str, Accuracy]:
    """Compare the scores (P,) of held-out pictures with the truth, not with the annotators.

    "overall" is over all pairs of each ranking; a kind of flaw over the neighbours in rankings of
    which the worse has that flaw more.
    """
    right: dict[str, list[bool]] = {"overall": []}
    for start, end in itertools.pairwise(rankings.starts.tolist()):
        for better, worse in itertools.combinations(range(start, end), 2):
            correct = bool(scores[better] > scores[worse])
            right["overall"].append(correct)
            if worse == better + 1:
                right.setdefault(rankings.kinds[worse], []).append(correct)
    return {kind: wilson(sum(hits), len(hits)) for kind, hits in sorted(right.items())}


def wilson(hits: int, n: int) -> Accuracy:
    """Compute a share with Wilson's 95 % interval, E. B. Wilson, 1927."""
    z = 1.959964
    share, denominator = hits / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / denominator
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / denominator
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Accuracy(n, share, min(low, share), max(high, share))  # at 0 and 1 they are the share
