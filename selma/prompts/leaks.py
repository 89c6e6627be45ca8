"""Keeps the prompts of benchmarks, and what is almost one of them, out of the training data."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from selma.core.errors import RecordError
from selma.prompts.diversity import Alphabet, Near, PromptIndex, normalise

KINDS = ("equal", "edited", "rouge_l")
SHOWN = 3  # prompts in a message
NEAR_EDITS = 2  # as far as a prompt is called edited, also where that many edits do not refuse it


@dataclass(frozen=True)
class Nearness:
    """How a prompt is like the benchmarks' prompts: the strongest of `KINDS` that holds.

    "equal": the same words after `normalise`. "edited": few of those words are inserted, deleted or
    replaced. "rouge_l": some words are the same, in the same order.
    """

    kind: str | None  # None if it shares no word with any benchmark prompt
    prompt_id: str | None  # of the benchmark prompt with the fewest edits, or the highest ROUGE-L
    leaked: bool
    near: Near  # the one nearest by ROUGE-L


def check_disjoint(where: str, prompts: Mapping[str, str], benchmark: Mapping[str, str]) -> None:
    """See that no prompt or caption, by id, is one of a benchmark's after `normalise`.

    RecordError, which begins with the file `where`, names those that stand in both.
    """
    known = {normalise(prompt): item_id for item_id, prompt in sorted(benchmark.items())}
    both = [
        f"{item_id} = {known[normalise(prompt)]} ({prompt!r})"
        for item_id, prompt in sorted(prompts.items())
        if normalise(prompt) in known
    ]
    if both:
        more = f" and {len(both) - SHOWN} more" if len(both) > SHOWN else ""
        raise RecordError(
            f"{where}: {len(both)} of its {len(prompts)} prompts stand in a benchmark too: "
            f"{', '.join(both[:SHOWN])}{more}; take them out, or what is made by it has "
            "seen the benchmark"
        )


class BenchmarkGate(PromptIndex):
    """Knows the benchmark prompts, by item id, and tells what would leak one.

    A prompt is one of them if it is equal, or if at most `word_edits_max` words are edited, and of
    `words_per_edit` words of the benchmark prompt at most one: two edits of "two red boxes" can
    give "two stone lions", a prompt in its own right. So with 3, two edits are allowed for from six
    words on, and one from three on; with 0 the length does not matter. It is one too if ROUGE-L F
    reaches `rouge_l_max`, unless that is None.
    """

    def __init__(
        self,
        benchmark_prompts: Mapping[str, str],
        *,
        word_edits_max: int,
        words_per_edit: int,
        rouge_l_max: float | None,
    ) -> None:
        super().__init__()
        self._word_edits_max = word_edits_max
        self._rouge_l_max = rouge_l_max
        self._normal_alphabet = Alphabet()
        self._normal_texts: list[str] = []
        for item_id, prompt in sorted(benchmark_prompts.items()):
            self.add(item_id, prompt)
            self._normal_texts.append(self._normal_alphabet.learn(normalise(prompt).split()))
        lengths = np.array([len(text) for text in self._normal_texts], np.int64)
        self._reaches = np.full_like(lengths, max(word_edits_max, NEAR_EDITS))
        if words_per_edit:
            self._reaches = np.minimum(self._reaches, lengths // words_per_edit)

    def compare(self, prompt: str) -> Nearness:
        near = self.nearest(prompt)
        if not self._ids:
            return Nearness(None, None, leaked=False, near=near)
        query = self._normal_alphabet.write(normalise(prompt).split())
        most = int(self._reaches.max())
        (edits,) = cdist(
            [query], self._normal_texts, scorer=Levenshtein.distance, score_cutoff=most
        )
        edits[edits > self._reaches] = most + 1  # too many to matter
        least = int(edits.argmin())
        if edits[least] == 0:
            return Nearness("equal", self._ids[least], leaked=True, near=near)
        if edits[least] <= min(most, self._word_edits_max):
            return Nearness("edited", self._ids[least], leaked=True, near=near)
        if self._rouge_l_max is not None and near.rouge_l >= self._rouge_l_max:
            return Nearness("rouge_l", near.prompt_id, leaked=True, near=near)
        if edits[least] <= most:
            return Nearness("edited", self._ids[least], leaked=False, near=near)
        kind = "rouge_l" if near.prompt_id else None
        return Nearness(kind, near.prompt_id, leaked=False, near=near)
