"""The gate that keeps benchmark prompts out of the training data."""

import re
from collections.abc import Mapping

from selma.prompts.diversity import Near, PromptIndex

_ARTICLES = frozenset(("a", "an", "the"))
_WORD = re.compile(r"[^\W_]+")


def normalise(text: str) -> str:
    """Reduce a prompt to its words: no case, punctuation, articles or extra white space.

    A text that is all articles keeps them, so that it does not become empty.
    """
    tokens = _WORD.findall(text.casefold())
    return " ".join([token for token in tokens if token not in _ARTICLES] or tokens)


class BenchmarkGate:
    """Knows the benchmark prompts.

    A prompt is refused if it equals a benchmark prompt after `normalise`. Likeness alone is
    measured and recorded but does not refuse: two prompts that mean different pictures ("three red
    stars", "two red stars") are near each other by nature.
    """

    def __init__(self, benchmark_prompts: Mapping[str, str]) -> None:
        self._index = PromptIndex()
        self._known: dict[str, str] = {}
        for item_id, prompt in sorted(benchmark_prompts.items()):
            self._index.add(item_id, prompt)
            self._known.setdefault(normalise(prompt), item_id)

    def leaked(self, prompt: str) -> str | None:
        """Find the id of the benchmark prompt that this prompt equals, if there is one."""
        return self._known.get(normalise(prompt))

    def nearest(self, prompt: str) -> Near:
        """Find the most similar benchmark prompt by ROUGE-L F."""
        return self._index.nearest(prompt)
