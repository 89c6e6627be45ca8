"""Finds the earlier prompt nearest to a new one by exact ROUGE-L, and compares only a few."""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist
from rouge_score import tokenize

_ARTICLES = frozenset(("a", "an", "the"))
_WORD = re.compile(r"[^\W_]+")
_OWN_COLUMNS = 256  # of the first words, with the common ones among them; later ones share 256
_PROBES = 64  # the most promising prompts, compared first


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


class Alphabet:
    """Writes each known word as one character, so that rapidfuzz compares words."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}  # from 1: 0 stands for all unknown words

    def learn(self, tokens: list[str]) -> str:
        for token in tokens:
            self._codes.setdefault(token, len(self._codes) + 1)
        return self.write(tokens)

    def write(self, tokens: list[str]) -> str:
        return "".join([chr(self._codes.get(token, 0)) for token in tokens])


class PromptIndex:
    """Prompts that a new text is compared with; finds the nearest by ROUGE-L F.

    F = 2·LCS / (a + b) for texts of a and b words, which is rouge-score's ``rougeL`` without
    stemming (Lin 2004, https://aclanthology.org/W04-1013). It is rounded once, so that a text
    exactly at a limit does not come out above it.

    An LCS is no longer than the number of words that two texts share, in any order. This bound is
    one addition of bytes per word of the new text, for all prompts at once; only the few prompts
    whose bound reaches the best score found so far are compared.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._alphabet = Alphabet()
        self._texts: list[str] = []
        self._lengths = array("f")  # in words, which float32 holds exactly
        # A byte for each prompt up to the last that has it: 1 if it has the k-th word of a column.
        self._has: defaultdict[tuple[int, int], bytearray] = defaultdict(bytearray)

    def add(self, prompt_id: str, text: str) -> None:
        written = self._alphabet.learn(words(text))
        for place in _places(written):
            row = self._has[place]
            row.extend(bytes(len(self._ids) - len(row)) + b"\x01")
        self._ids.append(prompt_id)
        self._texts.append(written)
        self._lengths.append(len(written))

    def nearest(self, text: str) -> Near:
        """Find the most similar stored prompt; of equals the one added first."""
        query = self._alphabet.write(words(text))
        shared = self._shared(query)
        if not shared.any():
            return Near(None, 0.0)
        totals = np.frombuffer(self._lengths, np.float32) + np.float32(len(query))  # (N,)
        bounds = shared / totals  # F / 2 at most: rounded as `best` is, so never below

        def reaching(probes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
            best = (self._common(query, probes) / totals[probes]).max()
            return np.flatnonzero(bounds >= best)

        near = reaching(np.array([bounds.argmax()]))
        if len(near) > _PROBES:
            near = reaching(near[np.argpartition(bounds[near], -_PROBES)[-_PROBES:]])
        scores = 2.0 * self._common(query, near) / totals[near].astype(np.float64)
        best = int(scores.argmax())
        return Near(self._ids[near[best]] if scores[best] else None, float(scores[best]))

    def _shared(self, query: str) -> npt.NDArray[np.unsignedinteger]:
        """Count the words shared with each prompt, and some that only share a column: (N,)."""
        shared = np.zeros(len(self._ids), np.min_scalar_type(len(query)))
        for place in _places(query):
            if place in self._has:
                row = np.frombuffer(self._has[place], np.uint8)
                shared[: len(row)] += row
        return shared

    def _common(self, query: str, places: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """LCS of the query and each of these prompts, in words."""
        texts = [self._texts[place] for place in places]
        (common,) = cdist([query], texts, scorer=LCSseq.similarity, dtype=np.float32)
        return cast(npt.NDArray[np.float32], common)


def _places(written: str) -> Iterator[tuple[int, int]]:
    """Name for each word its column, and how often that column has come up."""
    seen: Counter[int] = Counter()
    for code in map(ord, written):
        column = code if code < _OWN_COLUMNS else _OWN_COLUMNS + code % _OWN_COLUMNS
        seen[column] += 1
        yield column, seen[column]
