"""How the pocket LLMs answer: seeded by the request, in the styles and words of real ones."""

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from selma.core.choices import choose
from selma.core.errors import ConfigError
from selma.core.seeds import derive_seed


class PocketLLM(ABC):
    """Answers requests in words; the same request and seed give the same text."""

    model: str
    revision: str
    option: str  # what asks for a revision, for the message

    def __init__(self, model: str, revision: str) -> None:
        """Check that it is this LLM that is asked for; ConfigError if it is not."""
        choose("pocket LLM", model, {self.model: None})
        if revision != self.revision:
            raise ConfigError(
                f"{self.option}: the pocket LLM here is revision {self.revision!r}, "
                f"got {revision!r}"
            )

    def generate(self, request: str, *, seed: int) -> str:
        """Answer a request; one it does not understand is declined in words, as LLMs do."""
        digest = hashlib.sha256(request.encode()).hexdigest()
        return self.answer(request, random.Random(derive_seed(seed, digest)))

    @abstractmethod
    def answer(self, request: str, rng: random.Random) -> str:
        """Answer with what `rng` draws."""


def draw_style(styles: Sequence[str], rng: random.Random) -> str:
    """Draw how the items of a list are written, a format of number and text; the first is usual."""
    return rng.choices(styles, weights=(12, 3, 2, 1, 1))[0]


def add_talk(
    lines: list[str], openings: Sequence[str], closings: Sequence[str], rng: random.Random
) -> str:
    """Join the lines of a reply, now and then with words before and after them."""
    before = [rng.choice(openings) + "\n"] if rng.random() < 0.3 else []
    after = ["\n" + rng.choice(closings)] if rng.random() < 0.2 else []
    return "\n".join(before + lines + after)
