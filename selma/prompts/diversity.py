"""Compares a prompt with all earlier ones and with benchmarks: equal words, and exact ROUGE-L."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from rouge_score import tokenize

_ARTICLES = frozenset(("a", "an", "the"))
_WORD = re.compile(r"[^\W_]+")
_BITS_IN_BYTE = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)
_PROMPTS_PER_BLOCK = 256  # larger: longer integers in rare words' masks; smaller: more Python steps


@dataclass(frozen=True)
class Near:
    """The stored prompt most like a text; `prompt_id` is None if none shares a word with it."""

    prompt_id: str | None
    rouge_l: float  # F measure in [0, 1]


def normalise(text: str) -> str:
    """Reduce a prompt to its words: no case, punctuation, articles or extra white space.

    A text that is all articles keeps them, so that it does not become empty.
    """
    tokens = _WORD.findall(text.casefold())
    return " ".join([token for token in tokens if token not in _ARTICLES] or tokens)


def words(text: str) -> list[str]:
    """Split a text into words as rouge-score does without stemming."""
    return list(tokenize.tokenize(text, stemmer=None))


@dataclass
class _Block:
    """Up to 256 prompts side by side in one integer: a lane of whole bytes for each.

    A lane has a bit for each word and one more at least, so that an addition's carry stays in it.
    """

    prompts: int = 0
    width_bytes: int = 0
    used: int = 0  # ones at the bits that stand for words
    places: dict[str, int] = field(default_factory=dict)  # word -> ones where it occurs

    def add(self, tokens: list[str]) -> None:
        start = 8 * self.width_bytes
        for offset, token in enumerate(tokens, start=start):
            self.places[token] = self.places.get(token, 0) | 1 << offset
        self.used |= ((1 << len(tokens)) - 1) << start
        self.width_bytes += len(tokens) // 8 + 1
        self.prompts += 1

    def matched(self, tokens: list[str]) -> bytes:
        """By Hyyrö's bit-parallel LCS (2004): a lane has as many ones as its LCS with `tokens`."""
        state = self.used
        for place in filter(None, map(self.places.get, tokens)):
            hit = state & place
            state = ((state + hit) | (state ^ hit)) & self.used
        return (state ^ self.used).to_bytes(self.width_bytes, "little")


class PromptIndex:
    """Prompts that a new text is compared with; finds the nearest by ROUGE-L F.

    F = 2·LCS / (a + b) for texts of a and b words, which is rouge-score's ``rougeL`` without
    stemming (Lin 2004, https://aclanthology.org/W04-1013), for all stored prompts at once. It is
    rounded once, so that a text exactly at a limit does not come out above it.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._blocks: list[_Block] = []
        self._lengths: list[int] = []
        self._starts: list[int] = []  # first byte of each prompt's lane in all blocks' lanes
        self._arrays: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None = None

    def add(self, prompt_id: str, text: str) -> None:
        tokens = words(text)
        if not self._blocks or self._blocks[-1].prompts == _PROMPTS_PER_BLOCK:
            self._blocks.append(_Block())
        self._starts.append(sum(block.width_bytes for block in self._blocks))
        self._blocks[-1].add(tokens)
        self._ids.append(prompt_id)
        self._lengths.append(len(tokens))
        self._arrays = None

    def scores(self, text: str) -> npt.NDArray[np.float64]:
        """ROUGE-L F of `text` with each stored prompt, in the order of adding: (N,)."""
        tokens = words(text)
        if not self._ids or not tokens:
            return np.zeros(len(self._ids))
        if self._arrays is None:
            self._arrays = np.array(self._lengths, float), np.array(self._starts, np.int64)
        lengths, starts = self._arrays
        lanes = b"".join(block.matched(tokens) for block in self._blocks)
        ones = _BITS_IN_BYTE[np.frombuffer(lanes, np.uint8)]
        common = np.add.reduceat(ones, starts, dtype=np.int64)  # (N,)
        return 2.0 * common / (lengths + len(tokens))

    def nearest(self, text: str) -> Near:
        """Find the most similar stored prompt; of equals the one added first."""
        scores = self.scores(text)
        if not scores.size or not scores.max():
            return Near(None, 0.0)
        best = int(scores.argmax())
        return Near(self._ids[best], float(scores[best]))


class BenchmarkGate(PromptIndex):
    """Knows the benchmark prompts, by item id, and keeps them out of the training data.

    A prompt is refused if it equals a benchmark prompt after `normalise`. Likeness alone is
    measured and recorded but does not refuse: two prompts that mean different pictures ("three red
    stars", "two red stars") are near each other by nature.
    """

    def __init__(self, benchmark_prompts: Mapping[str, str]) -> None:
        super().__init__()
        self._known: dict[str, str] = {}
        for item_id, prompt in sorted(benchmark_prompts.items()):
            self.add(item_id, prompt)
            self._known.setdefault(normalise(prompt), item_id)

    def leaked(self, prompt: str) -> str | None:
        """Find the id of the benchmark prompt that this prompt equals, if there is one."""
        return self._known.get(normalise(prompt))
